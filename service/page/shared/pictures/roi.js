// What a model has found: outlines over the canvas of a picture.

import { element, write } from "../dom.js";

const MOST = 8;
const LABEL = 30; // pixels that a label needs above its box

export class Boxes {
  constructor() {
    const label = () => element("span"); // above the box, or below one at the top
    this.outlines = Array.from({ length: MOST }, () => element("div", { className: "roi", hidden: true, ariaHidden: "true" }, label()));
  }

  /** found: {box: [left, top, width, height] in pixels of the picture, a square without height; label?} of each, or nothing. */
  draw(canvas, found) {
    this.outlines.forEach((outline, n) => this.place(outline, canvas, found?.[n]));
  }

  place(outline, canvas, { box, label = "" } = {}) {
    outline.hidden = !box;
    if (!box) return;
    write(outline.firstChild, label);
    if (outline.parentElement !== canvas.parentElement) canvas.parentElement.append(outline);
    const { clientWidth, clientHeight, width, height } = canvas;
    const scale = Math.min(clientWidth / width, clientHeight / height); // object-fit: contain
    const [x, y, w, h = w] = box.map((side) => side * (canvas.dataset.scale ?? 1)), left = Math.max(0, x), top = Math.max(0, y);
    const wide = Math.min(width, x + w) - left, high = Math.min(height, y + h) - top; // what of it lies in the picture
    const mirrored = canvas.classList.contains("mirror") ? width - left - wide : left;
    const place = { left: (clientWidth - scale * width) / 2 + scale * mirrored, top: (clientHeight - scale * height) / 2 + scale * top, width: scale * wide, height: scale * high };
    outline.classList.toggle("high", place.top < LABEL);
    for (const [name, pixels] of Object.entries(place)) outline.style[name] = `${pixels}px`;
  }
}
