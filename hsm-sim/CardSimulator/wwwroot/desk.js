// The desk: shows the simulator's state and sends what the hands do. The PIN goes to the agent's prompt and nowhere else.
"use strict";
(() => {
  const drawer = document.getElementById("drawer");
  const places = document.getElementById("places");
  const message = document.getElementById("message");
  const typed = new Map();
  let chosen = null, drawn = "";

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const act = async (path, body = {}) => {
    const response = await fetch(`/api/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    message.textContent = response.ok ? "" : `できませんでした: ${(await response.json()).error}`;
    await refresh();
  };

  const drawCards = (state) => {
    const inside = new Set(state.readers.map((reader) => reader.card));
    if (inside.has(chosen)) chosen = null;
    drawer.replaceChildren(...state.cards.map((card) => {
      const button = make("button", { type: "button", className: "card", disabled: inside.has(card), textContent: card });
      button.setAttribute("role", "radio");
      button.setAttribute("aria-checked", String(card === chosen));
      button.addEventListener("click", () => { chosen = card; drawn = ""; refresh(); });
      return button;
    }));
  };

  const pad = (reader) => {
    const digits = () => typed.get(reader.index) ?? "";
    const shown = make("output", { textContent: "●".repeat(digits().length) });
    shown.setAttribute("aria-label", `${digits().length} 桁入力済み`);
    const press = (value) => { typed.set(reader.index, value.slice(0, 8)); drawn = ""; refresh(); };
    const key = (label, click, className = "") => { const button = make("button", { type: "button", textContent: label, className }); button.addEventListener("click", click); return button; };
    const keys = [..."123456789"].map((digit) => key(digit, () => press(digits() + digit)));
    keys.push(key("消す", () => press(digits().slice(0, -1))), key("0", () => press(`${digits()}0`)), key("確定", () => { const pin = digits(); typed.delete(reader.index); act(`readers/${reader.index}/pin`, { pin }); }, "ok"));
    return make("div", { className: "pad" }, make("p", { className: "text", textContent: reader.prompt.description }),
      reader.prompt.error ? make("p", { className: "error", textContent: reader.prompt.error }) : "", shown, make("div", { className: "keys" }, ...keys),
      make("p", {}, key("取り消す", () => { typed.delete(reader.index); act(`readers/${reader.index}/cancel`); }, "act")));
  };

  const place = (reader) => {
    const slot = make("div", { className: reader.card ? "slot full" : "slot" }, make("span", { textContent: reader.card ? `読み取り機: ${reader.card}` : "読み取り機: 空" }));
    const button = make("button", { type: "button", className: "act strong", disabled: !reader.card && !chosen, textContent: reader.card ? "カードを抜く" : chosen ? `${chosen} を差し込む` : "カードを選んでください" });
    button.addEventListener("click", () => reader.card ? act(`readers/${reader.index}/remove`) : act(`readers/${reader.index}/insert`, { card: chosen }));
    slot.append(button);
    const open = make("a", { className: "act", href: reader.place.url, target: "_blank", rel: "noreferrer", textContent: "業務を開く" });
    return make("section", {}, make("h2", { textContent: reader.place.title }), slot, open, reader.prompt ? pad(reader) : "");
  };

  const refresh = async () => {
    const response = await fetch("/api/state");
    const text = await response.text();
    if (text === drawn) return;
    drawn = text;
    const state = JSON.parse(text);
    const focus = document.activeElement?.textContent;
    drawCards(state);
    const asked = state.readers.some((reader) => reader.prompt);
    if (asked) document.querySelector(".guide").open = false;
    places.replaceChildren(...state.readers.filter((reader) => reader.place).map(place));
    if (asked) document.querySelector(".pad")?.scrollIntoView({ block: "nearest" });
    if (focus) [...document.querySelectorAll("button")].find((button) => button.textContent === focus)?.focus();
  };
  // The keyboard types on the first open pad.
  document.addEventListener("keydown", (event) => {
    const pad = document.querySelector(".pad");
    if (!pad || event.ctrlKey || event.altKey || event.metaKey) return;
    const label = /^[0-9]$/.test(event.key) ? event.key : { Backspace: "消す", Enter: "確定", Escape: "取り消す" }[event.key];
    const button = label && [...pad.querySelectorAll("button")].find((candidate) => candidate.textContent === label);
    if (!button) return;
    event.preventDefault();
    button.click();
  });
  setInterval(() => refresh().catch(() => { message.textContent = "シミュレーターが応答しません。"; }), 400);
  refresh();
})();
