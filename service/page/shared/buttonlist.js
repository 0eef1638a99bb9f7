// Lists of buttons, one for each thing to choose.

/** Fill the list; without any button the line above it is hidden too. */
export function buttonList(list, items, text, name, choose) {
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
