// Document helpers: elements, the style sheet's variables, the notice, lists of buttons, dropped files.

export const $ = (id) => document.getElementById(id);
export const element = (tag, className = "", text = "") => Object.assign(document.createElement(tag), { className, textContent: text });

/** Set an element's text, if it is another one. */
export const write = (node, text) => node.textContent === text || (node.textContent = text);

/** Text as a whole sentence. */
export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** The value of a CSS variable such as "--accent" under the present colour scheme. */
export const cssVariable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

if (!cssVariable("--event-ground")) {
  // Not every browser delays modules until the style sheet is loaded.
  await new Promise((go) => document.querySelector("link[rel=stylesheet]").addEventListener("load", go, { once: true }));
}

/** A variable of colours.css as [r, g, b]. */
export const rgb = (name) => cssVariable(name).match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));

/** Say what went wrong and what to do; action: {label, run}, or null. */
export function notice(title, text, action = null) {
  $("notice-title").textContent = title;
  $("notice-text").textContent = text;
  $("notice-action").hidden = !action;
  $("notice-action").textContent = action?.label ?? "";
  $("notice-action").onclick = action ? () => { hideNotice(); action.run(); } : null;
  $("notice").hidden = false;
}

export function hideNotice() {
  $("notice").hidden = true;
}

/** Fill a list with a button for each thing to choose; without buttons the line above it is hidden, too. picture(item): a promise of a canvas, optional. */
export function buttonList(list, items, text, name, choose, picture = null) {
  list.classList.toggle("pictured", Boolean(picture));
  list.replaceChildren(...items.map((item) => {
    const entry = element("li"), button = Object.assign(element("button"), { type: "button" });
    button.append(element("span", "", text(item)));
    picture?.(item).then((canvas) => button.prepend(canvas), () => {});
    button.setAttribute("aria-label", name(item));
    button.addEventListener("click", () => choose(item));
    entry.append(button);
    return entry;
  }));
  list.previousElementSibling.hidden = !items.length;
}

/** Call open(file, event) for a file dropped anywhere on the page; `veil` is shown while something is dragged over the page. */
export function dropTarget(veil, open) {
  let depth = 0; // enter and leave come for every element on the way
  addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth++;
    veil.hidden = false;
  });
  addEventListener("dragleave", () => {
    if (--depth <= 0) veil.hidden = true;
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    open(event.dataTransfer.files[0], event);
  });
}
