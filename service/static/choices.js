// Rows of things to choose from.

/** A row of buttons; without any, the line above it is hidden too. */
export function offer(list, items, text, name, choose) {
  list.replaceChildren(...items.map((item) => {
    const entry = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.textContent = text(item);
    button.setAttribute("aria-label", name(item));
    button.addEventListener("click", () => choose(item));
    entry.append(button);
    return entry;
  }));
  list.previousElementSibling.hidden = !items.length;
}
