// Work on a card: hands the one-time handle to this terminal's agent and shows what the broker says of it.
"use strict";
(() => {
  const root = document.getElementById("card-work");
  const start = document.getElementById("start");
  if (!root || !start) return;
  const base = root.dataset.base ?? `/cards/works/${root.dataset.work}`;
  const agents = root.dataset.agents.split(" ").filter(Boolean);
  let over = false;

  const show = (state, told = "") => {
    for (const element of root.querySelectorAll("[data-for]")) element.hidden = !element.dataset.for.split(" ").includes(state);
    for (const element of root.querySelectorAll("[data-fill]")) element.textContent = told;
    over = state === "done" || state === "failed";
    start.hidden = over;
    start.disabled = state === "running";
    const back = document.getElementById("back");
    if (over) back.classList.add("primary");
    if (state === "done" && back.dataset.done) back.textContent = back.dataset.done;
  };

  const follow = async () => {
    let seen = "";
    while (!over) {
      try {
        const response = await fetch(`${base}/state?seen=${seen}`);
        if (!response.ok) throw new Error(String(response.status));
        const state = await response.json();
        if (state.value !== seen) show(state.value, state.told);
        seen = state.value;
      } catch { await new Promise((resolve) => setTimeout(resolve, 1500)); }
    }
  };

  const probe = async (origin) => {
    try {
      const response = await fetch(`${origin}/terminal`, { signal: AbortSignal.timeout(1500) });
      return response.ok ? { origin, ...(await response.json()) } : null;
    } catch { return null; }
  };

  const post = (url, body) => fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });

  start.addEventListener("click", async () => {
    start.disabled = true;
    try {
      const found = (await Promise.all(agents.map(probe))).filter((agent) => agent?.attached);
      // The session is at one terminal: only that one's agent can claim the handle.
      const agent = found.find((candidate) => candidate.terminal === root.dataset.terminal) ?? (root.dataset.terminal ? null : found[0]);
      if (!agent) return show("no-agent");
      const made = await post(`${base}/handle`);
      if (!made.ok) return show("busy");
      const { handle } = await made.json();
      const answer = await post(`${agent.origin}/card-work`, { handle });
      if (answer.status === 409) show("busy");
      else if (answer.status >= 500) show("no-agent");
    } catch { show("no-agent"); } finally { start.disabled = false; }
  });
  follow();
  // Whoever pressed "make the card" a moment ago does not press again.
  if (root.dataset.auto) start.click();
})();
