// The sign-in page: hands the one-time handle to this terminal's agent and brings the agent's code back to the broker.
// What the page says comes from the broker's state; the agent's port only ever yields a code, which is worthless without our cookie.
"use strict";
(() => {
  const root = document.getElementById("sign-in");
  const start = document.getElementById("start");
  const choose = document.getElementById("choose");
  if (!root || !start) return;
  const base = `/sign-in/${root.dataset.transaction}`;
  const agents = root.dataset.agents.split(" ").filter(Boolean);
  let running = false, local = null;

  const show = (state, told = {}) => {
    root.dataset.state = state;
    for (const element of root.querySelectorAll("[data-for]")) {
      const cause = element.dataset.cause;
      element.hidden = element.dataset.for !== state || (cause !== undefined && cause !== (told.cause ?? (state === "locked" ? "terminal" : "cancelled")));
    }
    for (const element of root.querySelectorAll("[data-way]")) element.hidden = element.dataset.way !== root.dataset.way;
    for (const element of root.querySelectorAll("[data-fill]")) element.textContent = told[element.dataset.fill] ?? "";
    const step = { open: "start", handed: "start", claimed: "card", pin: "pin", proven: "pin" }[state];
    for (const element of root.querySelectorAll("[data-step]")) element.toggleAttribute("aria-current", element.dataset.step === step);
    const over = !["handed", "claimed", "pin", "passkey", "typed", "proven", "completed", "expired"].includes(state);
    start.disabled = !over;
    document.getElementById("passkey")?.toggleAttribute("disabled", !over);
    const typed = document.getElementById("typed"), own = document.getElementById("new-password");
    typed?.querySelector("button").toggleAttribute("disabled", !over);
    if (own) {
      const asked = state === "new-password";
      if (asked && own.hidden) setTimeout(() => own.elements.new.focus());
      own.hidden = !asked;
      for (const other of ["typed-details", "start", "passkey"]) document.getElementById(other)?.toggleAttribute("hidden", asked);
    }
    if (over && state !== "open") start.textContent = start.dataset.again;
    // On a small or enlarged screen the news would be below the fold.
    if (state !== "open") root.querySelector("[data-for]:not([hidden])")?.scrollIntoView({ block: "nearest" });
  };

  const post = async (url, body) => fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });

  // The broker's view, over and over. A message of ours (no agent, busy) stays until the broker's state changes.
  const follow = async () => {
    let seen = "";
    for (;;) {
      try {
        const response = await fetch(`${base}/state?seen=${seen}`);
        if (response.status === 404) { if (root.dataset.state !== "completed") show("expired"); return; }
        if (!response.ok) throw new Error(String(response.status));
        const state = await response.json();
        if (state.value !== seen) {
          seen = state.value;
          if (state.value !== "open" || !local) { local = null; show(state.value, state); }
        }
      } catch {
        if (!running) show("unavailable");
        await new Promise((resolve) => setTimeout(resolve, 2000));
        seen = "";
      }
    }
  };

  const probe = async (origin) => {
    try {
      const response = await fetch(`${origin}/terminal`, { signal: AbortSignal.timeout(1500) });
      return response.ok ? { origin, ...(await response.json()) } : null;
    } catch { return null; }
  };

  // Two agents on one machine happen in tests and at shared desks: the person says which terminal this is.
  const pick = async () => {
    const found = (await Promise.all(agents.map(probe))).filter(Boolean);
    if (found.length < 2) return found[0] ?? null;
    choose.querySelectorAll("button").forEach((button) => button.remove());
    choose.hidden = false;
    const chosen = await new Promise((resolve) => {
      for (const agent of found) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = agent.name || agent.terminal;
        button.addEventListener("click", () => resolve(agent));
        choose.append(button);
      }
      choose.querySelector("button").focus();
    });
    choose.hidden = true;
    return chosen;
  };

  const say = (state) => { local = state; show(state); };

  // The terminal is known by its agent; the key answers the page.
  const askPasskey = async () => {
    const begun = await post(`${base}/passkey/options`);
    if (!begun.ok) { say("unavailable"); return null; }
    const { ceremony, options } = await begun.json();
    local = "passkey";
    show("passkey");
    let credential;
    try { credential = await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) }); } catch { await post(`${base}/cancel`); say("no-passkey"); return null; }
    const answer = await post(`${base}/passkey`, { ceremony, credential: credential.toJSON() });
    local = null;
    return answer.ok ? (await answer.json()).code : null;
  };

  // The terminal is known by its agent; what was typed goes to the broker and nowhere else.
  const sendTyped = async () => {
    const form = document.getElementById("typed");
    const body = { person: form.elements.person.value, password: form.elements.password.value, code: form.elements.code.value };
    form.elements.password.value = form.elements.code.value = "";
    local = "typed";
    show("typed");
    const answer = await post(`${base}/typed`, body);
    local = null;
    if (answer.status === 422) { await post(`${base}/cancel`); say("both-needed"); return null; }
    if (answer.ok) return (await answer.json()).code ?? null;
    // Refused and over are told by the broker's state; after anything else the page may start again at once.
    if (answer.status !== 403 && answer.status !== 404) { await post(`${base}/cancel`); say("unavailable"); }
    return null;
  };

  const finish = async (code) => {
    const done = await post(`${base}/complete`, { code });
    if (!done.ok) return;
    const { next } = await done.json();
    root.dataset.state = "completed";
    location.assign(next);
  };

  const run = async (way) => {
    const agent = await pick();
    if (!agent) return say("no-agent");
    if (!agent.attached) return say("not-attached");
    const made = await post(`${base}/handle`);
    if (made.status === 404) return show("expired");
    if (made.status === 409) return say("busy");
    if (!made.ok) return say("unavailable");
    const { handle } = await made.json();
    const answer = await post(`${agent.origin}/${way === "card" ? "sign-in" : "seat"}`, { handle });
    if (answer.status === 409) return say("busy");
    if (answer.status === 503) return say("not-attached");
    if (answer.status === 502) return say("unavailable");
    if (!answer.ok) return;                       // refused or cancelled: the broker's state says which
    const code = way === "passkey" ? await askPasskey() : way === "typed" ? await sendTyped() : (await answer.json()).code;
    if (code) await finish(code);
  };

  const begin = async (way) => {
    if (running) return;
    running = true;
    root.dataset.way = way;
    start.disabled = true;
    try { await run(way); } catch { say("no-agent"); } finally { running = false; }
  };
  start.addEventListener("click", () => begin("card"));
  const passkey = document.getElementById("passkey");
  if (passkey && !window.PublicKeyCredential?.parseRequestOptionsFromJSON) passkey.hidden = true;
  passkey?.addEventListener("click", () => begin("passkey"));
  document.getElementById("typed")?.addEventListener("submit", (event) => { event.preventDefault(); begin("typed"); });
  document.getElementById("new-password")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target, problem = document.getElementById("new-problem");
    const tell = (text) => { problem.textContent = text; problem.hidden = !text; };
    if (form.elements.new.value !== form.elements.again.value) return tell(problem.dataset.differ);
    tell("");
    let answer;
    try { answer = await post(`${base}/new-password`, { password: form.elements.new.value }); } catch { return tell(problem.dataset.away); }
    if (answer.status === 422) return tell((await answer.json()).detail);
    if (answer.status === 404) return show("expired");
    if (!answer.ok && answer.status !== 403) return tell(problem.dataset.away);
    form.reset();
    if (answer.ok) await finish((await answer.json()).code);
  });
  follow();
})();
