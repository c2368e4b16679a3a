// Goes on to the relying party after some seconds, unless the person says stop (WCAG 2.2.1).
"use strict";
(() => {
  const next = document.getElementById("next");
  const stay = document.getElementById("stay");
  if (!next?.dataset.after || !stay) return;
  let left = Number(next.dataset.after);
  const text = next.textContent;
  stay.hidden = false;
  const timer = setInterval(() => {
    left -= 1;
    next.textContent = `${text} (${left})`;
    if (left <= 0) { clearInterval(timer); location.assign(next.href); }
  }, 1000);
  stay.addEventListener("click", () => { clearInterval(timer); next.textContent = text; stay.hidden = true; });
})();
