// While the register is open, asks twice a second whether it still may be.
"use strict";
if (document.getElementById("who")) {
  setInterval(async () => {
    try {
      const response = await fetch("/status");
      if (!(await response.json()).open) location.replace("/");
    } catch { location.replace("/"); }
  }, 500);
}
