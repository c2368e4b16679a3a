// The desk: shows the simulator's state and sends what the hands do. The PIN goes to the agent's prompt and nowhere else.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const drawer = byId("drawer"), places = byId("places"), message = byId("message");
  const only = /^\/([0-9]+)$/.exec(location.pathname)?.[1] - 1;      // the page of one terminal, or NaN: all of them
  const typed = new Map(), answered = new Set();
  let chosen = null, drawn = "", dragging = null;

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const act = async (path, body = {}) => {
    const response = await fetch(`/api/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    message.textContent = response.ok ? "" : `できませんでした: ${(await response.json()).error}`;
    drawn = "";
    await refresh();
  };
  const insert = (index, card) => act(`readers/${index}/insert`, { card });
  const remove = (index) => { answered.delete(index); return act(`readers/${index}/remove`); };
  const button = (label, click, className = "act") => { const element = make("button", { type: "button", textContent: label, className }); element.addEventListener("click", click); return element; };

  // Dragging is one way; the buttons are the other, for keyboards.
  const draggable = (element, what) => {
    element.draggable = true;
    element.addEventListener("dragstart", (event) => { dragging = what; event.dataTransfer.setData("text/plain", what.card); event.dataTransfer.effectAllowed = "move"; });
    element.addEventListener("dragend", () => { dragging = null; drawn = ""; refresh(); });
    return element;
  };
  const target = (element, takes, drop) => {
    element.addEventListener("dragover", (event) => { if (dragging && takes(dragging)) { event.preventDefault(); element.classList.add("over"); } });
    element.addEventListener("dragleave", () => element.classList.remove("over"));
    element.addEventListener("drop", (event) => { event.preventDefault(); element.classList.remove("over"); const what = dragging; dragging = null; if (what && takes(what)) drop(what); });
    return element;
  };

  const drawCards = (state) => {
    const inside = new Map(state.readers.filter((reader) => reader.card).map((reader) => [reader.card, reader]));
    if (inside.has(chosen)) chosen = null;
    drawer.replaceChildren(...state.cards.map(({ name, damaged }) => {
      const holder = inside.get(name);
      const note = holder ? `${holder.place?.title ?? "ほかの端末"}に差し込み中` : damaged ? "壊れています" : "操作識別カード";
      const card = make("button", { type: "button", className: holder ? "card away" : damaged ? "card damaged" : "card", disabled: Boolean(holder) }, name, make("small", { textContent: note }));
      card.setAttribute("role", "radio");
      card.setAttribute("aria-checked", String(name === chosen));
      if (!holder) card.addEventListener("click", () => { chosen = name; drawn = ""; refresh(); });
      return holder ? card : draggable(card, { card: name });
    }));
  };

  // The number is the one thing to compare: as large as on the page.
  const promptText = (description) => {
    const [, before, number, after] = /^([^]*?確認番号: )([0-9]+)([^]*)$/.exec(description) ?? [null, description, "", ""];
    return make("p", { className: "text" }, before, number ? make("span", { className: "number", textContent: number }) : "", after.replace(/^\n/, ""));
  };

  const pad = (reader) => {
    const digits = () => typed.get(reader.index) ?? "";
    const shown = make("output", { textContent: "●".repeat(digits().length) });
    shown.setAttribute("aria-label", `${digits().length} 桁入力済み`);
    const press = (value) => { typed.set(reader.index, value.slice(0, 8)); drawn = ""; refresh(); };
    const keys = [..."123456789"].map((digit) => button(digit, () => press(digits() + digit), ""));
    const confirm = () => { const pin = digits(); typed.delete(reader.index); answered.add(reader.index); act(`readers/${reader.index}/pin`, { pin }); };
    keys.push(button("消す", () => press(digits().slice(0, -1)), ""), button("0", () => press(`${digits()}0`), ""), button("確定", confirm, "ok"));
    return make("div", { className: "pad" }, promptText(reader.prompt.description),
      reader.prompt.error ? make("p", { className: "error", textContent: reader.prompt.error }) : "", shown, make("div", { className: "keys" }, ...keys),
      make("p", {}, button("取り消す", () => { typed.delete(reader.index); act(`readers/${reader.index}/cancel`); })));
  };

  const slot = (reader) => {
    // A second card is refused by the desk, with the reason.
    if (reader.card) return target(make("div", { className: "slot full" }, draggable(make("div", { className: "card", title: "引き出しへ引きずると抜けます" }, reader.card, make("small", { textContent: "差し込み中" })), { card: reader.card, from: reader.index }),
      button("カードを抜く", () => remove(reader.index), "act strong")), (what) => what.from === undefined, (what) => insert(reader.index, what.card));
    const into = button(chosen ? `${chosen} を差し込む` : "カードを選んでください", () => insert(reader.index, chosen), "act strong");
    into.disabled = !chosen;
    return target(make("div", { className: "slot" }, "読み取り機は空です。カードをここへ。", into), (what) => what.from === undefined, (what) => insert(reader.index, what.card));
  };

  const place = (reader) => {
    const open = make("a", { className: "act", href: reader.place.url, target: "_blank", rel: "noreferrer", textContent: "業務を開く" });
    const section = make("section", {}, make("h2", { textContent: reader.place.title }), make("div", { className: "terminal" }, make("div", {}, slot(reader), make("div", { className: "row" }, open)), reader.prompt ? pad(reader) : ""));
    section.setAttribute("aria-label", reader.place.title);
    return section;
  };

  const drawGuide = (shown) => {
    const steps = shown.some((reader) => reader.prompt) ? 2 : shown.some((reader) => reader.card && answered.has(reader.index)) ? 3 : shown.some((reader) => reader.card) ? 1 : 0;
    byId("guide").querySelectorAll("li").forEach((item, index) => {
      item.classList.toggle("past", index < steps);
      if (index === steps) item.setAttribute("aria-current", "step"); else item.removeAttribute("aria-current");
    });
  };

  const drawTerminals = (withPlace) => byId("terminals").replaceChildren(...[{ title: "すべて", path: "/" }, ...withPlace.map((reader) => ({ title: reader.place.title, path: `/${reader.index + 1}` }))].map(({ title, path }) => {
    const link = make("a", { href: path, textContent: title });
    if (path === location.pathname) link.setAttribute("aria-current", "page");
    return link;
  }));

  const refresh = async () => {
    const response = await fetch("/api/state");
    const text = await response.text();
    // The count of the card's commands is not shown: a card at work must not redraw what a hand is about to take.
    const seen = text.replace(/"commands":[0-9]+/g, "");
    if (seen === drawn || dragging) return;
    drawn = seen;
    const state = JSON.parse(text);
    const withPlace = state.readers.filter((reader) => reader.place);
    const shown = Number.isNaN(only) ? withPlace : withPlace.filter((reader) => reader.index === only);
    const focus = document.activeElement?.textContent;
    drawTerminals(withPlace);
    drawCards(state);
    drawGuide(shown);
    places.replaceChildren(...shown.map(place));
    if (shown.some((reader) => reader.prompt)) document.querySelector(".pad")?.scrollIntoView({ block: "nearest" });
    if (focus) [...document.querySelectorAll("button, a")].find((element) => element.textContent === focus)?.focus();
  };

  // The keyboard types on the first open pad.
  document.addEventListener("keydown", (event) => {
    const open = document.querySelector(".pad");
    if (!open || event.ctrlKey || event.altKey || event.metaKey) return;
    const label = /^[0-9]$/.test(event.key) ? event.key : { Backspace: "消す", Enter: "確定", Escape: "取り消す" }[event.key];
    const key = label && [...open.querySelectorAll("button")].find((candidate) => candidate.textContent === label);
    if (!key) return;
    event.preventDefault();
    key.click();
  });
  target(byId("drawer-place"), (what) => what.from !== undefined, (what) => remove(what.from));
  let away = false;
  setInterval(() => refresh().then(() => { if (away) { away = false; message.textContent = ""; } }).catch(() => { away = true; message.textContent = "シミュレーターが応答しません。"; }), 400);
  refresh();
})();
