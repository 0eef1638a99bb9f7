// One class of a teaching session as a card: the name, a button to hold, and its examples as small event pictures.

import { element } from "../../shared/dom.js";

const ENOUGH_S = 15; // of showing, that a class needs at least
const cross = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6 6l12 12M18 6L6 18"/></svg>';

export class Card {
  /** number: its key, from 1. hear: {show(card, on), rename(card, to), forget(card), drop(number), files(card, files)}; picture(number): a promise of a blob. */
  constructor(number, hear, picture) {
    Object.assign(this, { number, label: `Class ${number}`, hear, picture, shown: new Map(), on: false, sent: null, sending: null }); // sent: the name with its latest files; sending: a promise of their answers
    this.name = element("input", { type: "text", value: this.label, maxLength: 64, autocomplete: "off", spellcheck: false, ariaLabel: `Name of class ${number}` });
    this.gone = element("button", { className: "quiet", type: "button", innerHTML: cross });
    this.hold = element("button", { className: "hold", type: "button", data: number < 10 ? { key: number } : {} });
    this.count = element("p", "words");
    this.bar = element("i");
    this.pictures = element("ul", "examples");
    this.input = element("input", { className: "sr", type: "file", multiple: true });
    const head = element("div", "card-head", this.name, this.gone), files = element("label", "linklike", "or add recordings", this.input);
    this.root = element("li", { className: "pane card", data: { tone: 1 + ((number - 1) % 6) } }, head, this.hold, element("div", "cost", this.bar), this.pictures, element("div", "card-end", this.count, files));
    this.listen();
    this.call(this.label);
    this.update([]);
  }

  listen() {
    const { hold, hear } = this;
    this.name.addEventListener("change", () => hear.rename(this, this.name.value.trim()));
    this.name.addEventListener("keydown", ({ key }) => key === "Enter" && this.name.blur());
    this.gone.addEventListener("click", () => hear.forget(this));
    this.input.addEventListener("change", () => { hear.files(this, [...this.input.files]); this.input.value = ""; });
    hold.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      hold.setPointerCapture(event.pointerId);
      hear.show(this, true);
    });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) hold.addEventListener(kind, () => hear.show(this, false));
    hold.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch
    hold.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault(); // no click at its end
      if (!event.repeat) hear.show(this, true);
    });
    hold.addEventListener("keyup", ({ key }) => (key === " " || key === "Enter") && hear.show(this, false));
    // A screen reader clicks but cannot hold the button: one click starts, the next one stops.
    hold.addEventListener("click", ({ detail }) => detail === 0 && hear.show(this, !this.on));
  }

  call(label) {
    this.label = this.name.value = label;
    this.gone.ariaLabel = `Take ${label} back`;
    this.showing(this.on);
    this.pictures.ariaLabel = `Examples of ${label}`;
    for (const [number, { button }] of this.shown) button.ariaLabel = nameOf(number, label);
  }

  /** Mark whether the class is being shown. */
  showing(on) {
    this.on = on;
    const words = on ? "Showing…" : "Hold to show", key = this.number < 10 ? `, key ${this.number}` : "";
    Object.assign(this.hold, { textContent: words, ariaPressed: String(on), ariaLabel: `${words} ${this.label}${key}` });
    this.root.classList.toggle("showing", on);
  }

  /** Mark whether the answer is this class. */
  answered(on) {
    this.root.classList.toggle("answered", on);
  }

  /** numbers: the class's examples; windowMs: length of each. */
  update(numbers, windowMs = 310) {
    const wanted = new Set(numbers);
    for (const [number, { item, url }] of this.shown) {
      if (wanted.has(number)) continue;
      item.remove();
      if (url) URL.revokeObjectURL(url);
      this.shown.delete(number);
    }
    for (const number of numbers) if (!this.shown.has(number)) this.add(number);
    const seconds = (numbers.length * windowMs) / 1000;
    this.count.textContent = numbers.length ? `${numbers.length} example${numbers.length > 1 ? "s" : ""}, ${Math.round(seconds)} s` : "nothing shown yet";
    this.bar.style.width = `${Math.min(100, (100 * seconds) / ENOUGH_S)}%`;
    this.pictures.hidden = !numbers.length;
  }

  /** Add an example, the newest first. */
  add(number) {
    const button = element("button", { type: "button", title: "Take back", ariaLabel: nameOf(number, this.label), onclick: () => this.hear.drop(number) });
    const item = element("li", "", button), kept = { item, button, url: "" };
    this.pictures.prepend(item);
    this.shown.set(number, kept);
    this.picture(number).then((blob) => {
      if (!this.shown.has(number)) return;
      kept.url = URL.createObjectURL(blob);
      button.append(element("img", { src: kept.url, alt: "", width: 32, height: 32 }));
    }, () => {});
  }
}

const nameOf = (number, label) => `Take example ${number + 1} of ${label} back`;
