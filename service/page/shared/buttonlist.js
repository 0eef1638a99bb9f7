// Lists of buttons, one for each thing to choose.

/** Fill the list; without buttons the line above it is hidden, too. picture(item): a promise of a canvas, optional. */
export function buttonList(list, items, text, name, choose, picture = null) {
  list.classList.toggle("pictured", Boolean(picture));
  list.replaceChildren(...items.map((item) => {
    const entry = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    const words = document.createElement("span");
    words.textContent = text(item);
    button.append(words);
    picture?.(item).then((canvas) => button.prepend(canvas), () => {});
    button.setAttribute("aria-label", name(item));
    button.addEventListener("click", () => choose(item));
    entry.append(button);
    return entry;
  }));
  list.previousElementSibling.hidden = !items.length;
}
