// Presence at two-person work: as long as this page is open and visible. What is shown is only ever text.
"use strict";
const watch = document.getElementById("watch");
const live = document.getElementById("live");
const form = document.querySelector("form[action='?handler=check']");
let source = null, last = 0;

const say = (word, problem) => {
  watch.textContent = watch.dataset[word] ?? word;
  watch.classList.toggle("problem", problem);
  watch.classList.toggle("done", !problem);
};

const join = () => {
  if (source || document.hidden) return;
  say("joining", true);
  source = new EventSource(`${watch.dataset.stream}&after=${last}`);
  source.addEventListener("shown", (e) => {
    last = Number(e.lastEventId);
    for (const text of JSON.parse(e.data)) {
      const line = document.createElement("li");
      const code = document.createElement("code");
      code.textContent = text;
      line.append(code);
      live.append(line);
    }
    while (live.childElementCount > 2000) live.firstElementChild.remove();
    live.scrollTop = live.scrollHeight;
  });
  source.addEventListener("state", (e) => say(e.data, e.data !== "going"));
  source.addEventListener("refused", (e) => { say(e.data, true); source.close(); });
  source.addEventListener("over", () => { say("ended", true); source.close(); });
  source.onerror = () => {
    if (!source) return;
    source.close();
    source = null;
    say("cut", true);
    setTimeout(join, 500);
  };
};

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return join();
  source?.close();
  source = null;
  say("hidden", true);
});

// A confirmation does not leave the page: leaving it would make the work stand still.
form.addEventListener("submit", async (e) => {
  e.preventDefault();
  try {
    const response = await fetch("?handler=check", { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "text/html" } });
    const notice = document.createElement("p");
    notice.className = response.ok ? "notice done" : "notice problem";
    notice.setAttribute("role", "status");
    notice.textContent = `${document.getElementById("note").value} — ${response.ok ? form.dataset.done : form.dataset.problem}`;
    form.after(notice);
    if (response.ok) form.reset();
  } catch { say("cut", true); }
});

join();
