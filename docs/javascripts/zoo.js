// Filters of the zoo's overview: what the entries say of themselves in data-… attributes.
// The filters are in the address, so that a view can be linked.
document$.subscribe(() => {
  const form = document.querySelector(".zoo-filters");
  if (!form) return;
  form.hidden = false;
  const cards = [...document.querySelectorAll(".zoo-card")];
  const count = form.querySelector(".zoo-count");
  const fields = [...form.elements].filter((field) => field.name);
  const address = new URLSearchParams(location.search);
  for (const field of fields) field.value = address.get(field.name) ?? "";

  function show() {
    const wanted = fields.map((field) => [field.name, field.value.trim().toLowerCase()]);
    let shown = 0;
    for (const card of cards) {
      card.hidden = !wanted.every(([name, value]) => {
        const own = card.dataset[name].toLowerCase();
        return name === "words" ? value.split(/\s+/).every((word) => own.includes(word)) : !value || own === value;
      });
      if (!card.hidden) shown += 1;
    }
    count.textContent = shown === 1 ? "1 entry" : `${shown} entries`;
    const set = new URLSearchParams(wanted.filter(([, value]) => value));
    history.replaceState(null, "", set.size ? `?${set}` : location.pathname);
  }

  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show));
  show();
});
