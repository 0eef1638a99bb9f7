// Photosensitivity (WCAG 2.3.1: at most three flashes in any second). Pictures of the world can flash; the page must not.

import { element } from "../dom.js";

/** Relative luminance of an sRGB colour, 0 to 1 (WCAG definition). */
export function luminance(r, g, b) {
  return 0.2126 * LINEAR[r] + 0.7152 * LINEAR[g] + 0.0722 * LINEAR[b];
}

export const LINEAR = Float64Array.from({ length: 256 }, (_, value) => {
  const c = value / 255;
  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
});

const CELLS_X = 16, CELLS_Y = 12;
const SAMPLES_X = 32, SAMPLES_Y = 24;
const SWING = 0.23; // of an event picture's level: about 0.09 in relative luminance
const SWINGS = 5; // in a second, that make a pixel a flashing one; three flashes are six
const LEVEL = SWING / 0.07; // of a camera's picture: a change of relative luminance that counts; WCAG counts 0.10
const AREA = 0.15; // share of flashing cells that counts; WCAG counts 0.25
const HELD_MS = 700; // a picture stays so long where they flash

/** Draws frames on a canvas; when they flash, so few of them that no more than one flash a second remains. */
export class CalmPicture {
  constructor(canvas) {
    Object.assign(this, { canvas, context: canvas.getContext("2d", { alpha: false }) });
    this.smallContext = element("canvas", { width: CELLS_X, height: CELLS_Y }).getContext("2d", { alpha: false, willReadFrequently: true });
    this.clear();
  }

  resize(width, height) {
    Object.assign(this.canvas, { width, height });
    this.canvas.dataset.scale = "1"; // of its pixels, by those of the picture
    this.canvas.classList.toggle("coarse", width < 200);
    this.clear();
  }

  clear() {
    this.watch = new FlashWatch(CELLS_X, CELLS_Y);
    this.drawnMs = -Infinity;
  }

  /** Draw one still picture at its own size. */
  show(image, width, height) {
    this.resize(width, height);
    this.canvas.dataset.scale = String(width / image.width);
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(image, 0, 0, width, height);
  }

  draw(image, nowMs) {
    const { width, height } = this.canvas;
    if (this.watch.flashing(this.cells(image), LEVEL, nowMs) >= AREA && nowMs - this.drawnMs < HELD_MS) return;
    this.drawnMs = nowMs;
    this.context.drawImage(image, 0, 0, width, height);
  }

  cells(image) {
    this.smallContext.drawImage(image, 0, 0, CELLS_X, CELLS_Y);
    const { data } = this.smallContext.getImageData(0, 0, CELLS_X, CELLS_Y);
    return Float64Array.from({ length: CELLS_X * CELLS_Y }, (_, i) => luminance(data[4 * i], data[4 * i + 1], data[4 * i + 2]));
  }
}

/** Watches a grid of pixels for swings up and down. */
export class FlashWatch {
  constructor(width, height) {
    const columns = Math.min(SAMPLES_X, width), rows = Math.min(SAMPLES_Y, height);
    this.columns = columns;
    this.rows = rows;
    this.at = Int32Array.from({ length: columns * rows }, (_, i) => Math.floor(((Math.floor(i / columns) + 0.5) * height) / rows) * width + Math.floor((((i % columns) + 0.5) * width) / columns));
    this.extreme = new Float32Array(this.at.length); // the last turning point, or how far it went since
    this.rising = new Int8Array(this.at.length).fill(1);
    this.swings = Array.from({ length: this.at.length }, () => []); // times of the latest ones
  }

  /** The largest share of flashing pixels in any window of half the width and height; `strength` scales the levels. */
  flashing(surface, strength, nowMs) {
    const bad = new Uint8Array(this.at.length);
    for (let i = 0; i < this.at.length; i++) {
      const change = surface[this.at[i]] * strength - this.extreme[i];
      if (change * this.rising[i] > 0) {
        this.extreme[i] += change;
      } else if (Math.abs(change) >= SWING) {
        this.extreme[i] += change;
        this.rising[i] *= -1;
        this.swings[i].push(nowMs);
        if (this.swings[i].length > SWINGS) this.swings[i].shift();
      }
      bad[i] = this.swings[i].length === SWINGS && nowMs - this.swings[i][0] < 1000 ? 1 : 0;
    }
    return this.worst(bad);
  }

  worst(bad) {
    const { columns, rows } = this;
    const w = Math.ceil(columns / 2), h = Math.ceil(rows / 2);
    let most = 0;
    for (const top of [0, (rows - h) >> 1, rows - h]) {
      for (const left of [0, (columns - w) >> 1, columns - w]) {
        let count = 0;
        for (let y = top; y < top + h; y++) for (let x = left; x < left + w; x++) count += bad[y * columns + x];
        most = Math.max(most, count / (w * h));
      }
    }
    return most;
  }
}
