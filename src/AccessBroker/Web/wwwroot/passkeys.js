// Enrolment of a passkey: the broker's options go to the browser, the key's answer back. Judged by the broker alone.
"use strict";
(() => {
  const root = document.getElementById("enrol");
  const button = document.getElementById("register");
  if (!root || !button) return;
  const show = (state, text) => {
    for (const element of root.querySelectorAll("[data-for]")) element.hidden = element.dataset.for !== state;
    if (text) root.querySelector(`[data-for=${state}]`).textContent = text;
    button.disabled = state === "running";
  };
  const query = root.dataset.request ? `?request=${root.dataset.request}` : "";
  const post = (url, body) => fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });
  if (!window.PublicKeyCredential?.parseCreationOptionsFromJSON) { show("unsupported"); button.disabled = true; return; }
  button.addEventListener("click", async () => {
    show("running");
    const begun = await post(`/passkeys/options${query}`);
    if (!begun.ok) return show("failed", (await begun.json()).detail);
    const { ceremony, options } = await begun.json();
    let credential;
    try { credential = await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) }); } catch { return show("cancelled"); }
    const done = await post(`/passkeys/register${query}`, { ceremony, credential: credential.toJSON(), name: document.getElementById("name").value });
    if (!done.ok) return show("failed", (await done.json()).detail);
    show("done");
  });
})();
