// Asks twice a second whether the register still may be open, and shows what changed.
"use strict";
(() => {
  const shown = document.getElementById("who") ? "open" : document.getElementById("waiting") ? "waiting" : null;
  if (!shown) return;
  setInterval(async () => {
    try {
      const response = await fetch("/status");
      if ((await response.json()).state !== shown) location.replace("/");
    } catch { location.replace("/"); }
  }, 500);
})();
