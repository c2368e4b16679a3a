// Time left, fresh news while something begins or ends, and the player of recordings. Nothing recorded is ever more than text.
"use strict";
for (const time of document.querySelectorAll("[data-countdown]")) {
  const until = Number(time.dataset.countdown);
  const show = () => {
    const left = Math.max(0, Math.round((until - Date.now()) / 1000));
    time.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    time.classList.toggle("warn", left <= 300);
  };
  show();
  setInterval(show, 1000);
}

const session = document.getElementById("privileged");
if (session && ["opening", "ending", "open"].includes(session.dataset.state) && !document.getElementById("code")) {
  const ask = async () => {
    try {
      const now = await (await fetch("?handler=state", { headers: { Accept: "application/json" } })).json();
      if (now.state !== session.dataset.state || now.second !== (document.getElementById("second")?.dataset.now ?? "")) return location.replace(location.pathname);
    } catch { /* asked again */ }
    setTimeout(ask, session.dataset.state === "open" ? 3000 : 700);
  };
  setTimeout(ask, 700);
}

const player = document.getElementById("player");
const lines = [...document.querySelectorAll("#recording li")];
if (player && lines.length > 1) {
  player.hidden = false;
  const play = document.getElementById("play");
  const speed = document.getElementById("speed");
  let next = lines.length, playing = false;
  const step = () => {
    if (!playing) return;
    lines[next].hidden = false;
    lines[next].scrollIntoView({ block: "nearest" });
    next += 1;
    if (next === lines.length) { playing = false; play.textContent = player.dataset.play; return; }
    const pause = (Number(lines[next].dataset.at) - Number(lines[next - 1].dataset.at)) * 1000 / Number(speed.value);
    setTimeout(step, Math.min(Math.max(pause, 0), 2000));
  };
  play.addEventListener("click", () => {
    playing = !playing;
    play.textContent = playing ? player.dataset.pause : player.dataset.play;
    if (playing && next === lines.length) { next = 0; for (const line of lines) line.hidden = true; }
    if (playing) step();
  });
}
