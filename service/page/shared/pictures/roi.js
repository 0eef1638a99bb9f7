// What a model has found: outlines over the canvas of a picture.

import { element, write } from "../dom.js";

const MOST = 8;
const LABEL = 30; // pixels that a label needs above its box

class RoiBox {
  constructor() {
    this.outline = Object.assign(element("div", "roi"), { hidden: true });
    this.label = this.outline.appendChild(element("span")); // above the box, or below one at the top
    this.outline.setAttribute("aria-hidden", "true");
  }

  /** box: [left, top, width, height] in pixels of the picture, a square without height; nothing to hide it. */
  draw(canvas, box, label = "") {
    const { outline } = this;
    outline.hidden = !box;
    if (!box) return;
    write(this.label, label);
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

export class Boxes {
  constructor() {
    this.outlines = Array.from({ length: MOST }, () => new RoiBox());
  }

  /** found: {box: as RoiBox takes it, label?} of each, or nothing. */
  draw(canvas, found) {
    this.outlines.forEach((outline, n) => outline.draw(canvas, found?.[n]?.box, found?.[n]?.label));
  }
}
