// Buttons that print the page they stand on; fields that find people, cards and terminals while somebody types.
"use strict";
for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => window.print());

for (const input of document.querySelectorAll("input[data-find]")) {
  const kind = input.closest("form").dataset.kind;
  const select = document.createElement("select");
  Object.assign(select, { className: "found", hidden: true });
  select.setAttribute("aria-label", document.querySelector(`label[for="${input.id}"]`).textContent);
  const none = document.createElement("p");
  Object.assign(none, { className: "hint warn", hidden: true, textContent: input.dataset.none });
  none.setAttribute("role", "status");
  input.after(select, none);
  // Without the list the typed text is sent and looked up by the server; with it, what was chosen.
  const name = input.name;
  const use = (found) => {
    select.replaceChildren(...found.map(({ value, label }) => new Option(label, value)));
    if (found.length > 1) select.prepend(new Option(input.dataset.pick.replace("{0}", found.length), "", true, true));
    select.hidden = found.length === 0;
    select.required = found.length > 0;
    select.name = found.length > 0 ? name : "";
    input.name = found.length > 0 ? "" : name;
    none.hidden = found.length > 0 || !input.value.trim();
  };
  let waiting = 0;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const text = input.value.trim();
      try {
        const response = await fetch(`/requests/new/${kind}/found?${new URLSearchParams({ field: input.dataset.find, text })}`);
        if (response.ok && text === input.value.trim()) use(await response.json());
      } catch { use([]); none.hidden = true; }
    }, 200);
  });
  if (input.value) input.dispatchEvent(new Event("input"));
}
