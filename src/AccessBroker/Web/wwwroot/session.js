// A signed-in page goes away with its session: card out, sign-out elsewhere, time-out.
"use strict";
setInterval(async () => {
  try {
    const response = await fetch("/session");
    if (response.status === 401) location.replace("/signed-out?ended=yes");
  } catch { /* the broker is away: the next look decides */ }
}, 700);
