// A camera's frames as events: what is seen is moved by saccades before an event camera's pixels, encoders/emulator/frames.py.

import { Emulator } from "./events.js";

/** Convert RGBA pixels to grey uint8 (ITU-R BT.601 weights, in 256ths). */
export function luma(rgba) {
  const grey = new Uint8Array(rgba.length / 4);
  for (let i = 0, at = 0; i < grey.length; i++, at += 4) grey[i] = (77 * rgba[at] + 150 * rgba[at + 1] + 29 * rgba[at + 2]) >> 8;
  return grey;
}

const STEP_US = 4000, LONGEST_US = 500_000, PARTS = 32;

export class MovedFrames {
  /** facts: "view" of model.json; pixels: parameters of an Emulator. */
  constructor({ path }, pixels) {
    Object.assign(this, { path, emulator: new Emulator(pixels), size: { width: pixels.width, height: pixels.height }, tUs: null });
  }

  release() {
    this.emulator.release();
  }

  /** The events between the previous frame and this one (RGBA pixels of width x height). */
  push(rgba, width, height, tUs) {
    const goesOn = this.tUs !== null && tUs > this.tUs && tUs - this.tUs <= LONGEST_US, begin = goesOn ? this.tUs : tUs - STEP_US;
    this.tUs = tUs;
    if (!goesOn) this.emulator.forget();
    const small = shrunk(luma(rgba), width, height, this.size), parts = [];
    for (let t = (Math.floor(begin / STEP_US) + 1) * STEP_US; t <= tUs; t += STEP_US) {
      const [x, y] = this.path.map((way) => way[Math.floor(t / 1000) % way.length]);
      parts.push(this.emulator.push(moved(small, this.size, x, y), t));
    }
    return joined(parts);
  }
}

/** The means under so many cells of lines [lines, pixels]: [cells, lines], turned. */
function means(values, lines, pixels, cells) {
  const out = new Float64Array(cells * lines), scale = pixels / cells;
  for (let cell = 0; cell < cells; cell++) {
    const begin = cell * scale, end = begin + scale;
    for (let at = Math.floor(begin); at < end && at < pixels; at++) {
      const share = (Math.min(at + 1, end) - Math.max(at, begin)) / scale;
      for (let line = 0; line < lines; line++) out[cell * lines + line] += share * values[line * pixels + at];
    }
  }
  return out;
}

/** The mean light under each pixel of a smaller picture, as OpenCV's INTER_AREA. */
function shrunk(grey, width, height, size) {
  const columns = means(grey, height, width, size.width);
  return Uint8Array.from(means(columns, size.width, height, size.height), Math.round);
}

/** The picture moved right by x and down by y PARTS of a pixel, interpolated between four, its border repeated. */
function moved(grey, { width, height }, x, y) {
  const [left, top] = [Math.floor(-x / PARTS), Math.floor(-y / PARTS)], right = -x - left * PARTS, down = -y - top * PARTS;
  const [columns, rows] = [[left, width], [top, height]].map(([first, length]) => {
    return Int32Array.from({ length: length + 1 }, (_, i) => Math.min(Math.max(first + i, 0), length - 1));
  });
  const out = new Uint8Array(grey.length);
  for (let v = 0, at = 0; v < height; v++) {
    const above = rows[v] * width, below = rows[v + 1] * width;
    for (let u = 0; u < width; u++, at++) {
      const near = columns[u], far = columns[u + 1];
      const upper = grey[above + near] * (PARTS - right) + grey[above + far] * right;
      const lower = grey[below + near] * (PARTS - right) + grey[below + far] * right;
      out[at] = (upper * (PARTS - down) + lower * down + PARTS ** 2 / 2) / PARTS ** 2;
    }
  }
  return out;
}

function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}
