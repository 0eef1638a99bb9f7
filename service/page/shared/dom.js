// Document helpers: elements, the style sheet's variables, the notice, lists of buttons, dropped files.

export const $ = (id) => document.getElementById(id);
export const on = (id, event, run) => $(id).addEventListener(event, run);

/** A new element; about: its class, or its properties and `data`; inside: text and elements. */
export function element(tag, about = "", ...inside) {
  const made = document.createElement(tag), { data = {}, ...properties } = typeof about === "string" ? { className: about } : about;
  Object.assign(made, properties);
  Object.assign(made.dataset, data);
  made.append(...inside);
  return made;
}

export const write = (node, text) => node.textContent === text || (node.textContent = text);

export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** The value of a CSS variable such as "--accent" under the present colour scheme. */
export const cssVariable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

if (!cssVariable("--event-ground")) {
  // Not every browser delays modules until the style sheet is loaded.
  await new Promise((go) => document.querySelector("link[rel=stylesheet]").addEventListener("load", go, { once: true }));
}

/** A variable of colours.css as [r, g, b]. */
export const rgb = (name) => cssVariable(name).match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));

/** Say how the source's connection is: kind, for its colour. */
export function pill(kind, words) {
  $("link").dataset.state = kind;
  $("link-text").textContent = words;
}

/** Say what went wrong and what to do; action: {label, run}, or null. */
export function notice(title, text, action = null) {
  $("notice-title").textContent = title;
  $("notice-text").textContent = text;
  $("notice-action").hidden = !action;
  $("notice-action").textContent = action?.label ?? "";
  $("notice-action").onclick = action ? () => { hideNotice(); action.run(); } : null;
  $("notice").hidden = false;
}

export const hideNotice = () => ($("notice").hidden = true);
on("notice-close", "click", hideNotice);

/** Fill a list with a button for each object to choose; without buttons the line above it is hidden, too. picture(item): a promise of a canvas, optional. */
export function buttonList(list, items, text, name, choose, picture = null) {
  list.classList.toggle("pictured", Boolean(picture));
  list.replaceChildren(...items.map((item) => {
    const about = { type: "button", ariaLabel: name(item), onclick: () => choose(item) };
    const button = element("button", about, element("span", "", text(item)));
    picture?.(item).then((canvas) => button.prepend(canvas), () => {});
    return element("li", "", button);
  }));
  list.previousElementSibling.hidden = !items.length;
}

/** Call open(file, event) for a file that is chosen, or dropped anywhere: a veil is shown while something is dragged over the page. */
export function listenForFiles(open) {
  let depth = 0; // enter and leave come for every element on the way
  const dragged = (step) => (event) => {
    event.preventDefault();
    depth += step;
    $("drop").hidden = depth <= 0;
  };
  addEventListener("dragenter", dragged(1));
  addEventListener("dragleave", dragged(-1));
  addEventListener("dragover", dragged(0));
  addEventListener("drop", (event) => {
    dragged(-depth)(event);
    open(event.dataTransfer.files[0], event);
  });
  on("file", "change", () => { open($("file").files[0]); $("file").value = ""; });
}

const PAINT_EVERY_MS = 30;

/** Call draw(nowMs) again and again, slower(): every so many ms, if it says so. */
export function repaint(draw, slower = () => 0) {
  let paintedMs = 0;
  const paint = (nowMs) => {
    requestAnimationFrame(paint);
    if (nowMs - paintedMs < (slower() || PAINT_EVERY_MS)) return;
    paintedMs = nowMs;
    draw(nowMs);
  };
  requestAnimationFrame(paint);
}
