// The event picture: a surface of signed brightness changes that fades, drawn in blue (brighter) and orange (darker).
// Sparse events are vivid; the more of the picture lights up at once, the nearer the colours come to the ground, so that
// a lamp's flicker can never become a flash: at full dimming no two colours differ by 0.09 in relative luminance.

import { LINEAR } from "./safety.js";

const GROUND = [16, 20, 27];
const VIVID = { on: [94, 170, 255], off: [255, 158, 66] };
const DIM = { on: [44, 78, 158], off: [122, 74, 38] };
const LEVELS = 64;
const FADED = 0.7; // a pixel below this level that gets an event counts as lighting up
const TOGETHER_MS = 150; // what lights up within this time does so at once
const TILES = 4; // the area is measured in every window of half the width and height
const AREA_FREE = 0.09, AREA_FULL = 0.2; // WCAG counts a flash from 0.25 on
const RELEASE_MS = 2500;

const encode = (linear) => Math.round(255 * (linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055));

/** Packed pixel of a mix in linear light: ground -> (dim -> vivid by `gain`) by `level`. */
function mix(dim, vivid, gain, level) {
  const [r, g, b] = GROUND.map((ground, i) => {
    const full = LINEAR[dim[i]] + (LINEAR[vivid[i]] - LINEAR[dim[i]]) * gain;
    return encode(LINEAR[ground] + (full - LINEAR[ground]) * level);
  });
  return (255 << 24) | (b << 16) | (g << 8) | r;
}

export class EventView {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.decayMs = 600;
    this.gain = 1;
    this.resize(canvas.width, canvas.height);
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    Object.assign(this.canvas, { width, height });
    this.canvas.classList.toggle("coarse", width < 200);
    this.surface = new Float32Array(width * height);
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.palette = null;
    this.risen = new Float64Array(TILES * TILES); // pixels of each tile that lit up lately
    this.lastMs = performance.now();
    this.draw(this.lastMs);
  }

  clear() {
    this.surface.fill(0);
    this.draw(performance.now());
  }

  add({ width, height, n, pairs }) {
    if (width !== this.width || height !== this.height) this.resize(width, height);
    for (let i = 0; i < n; i++) {
      const x = pairs[2 * i], packed = pairs[2 * i + 1];
      const at = (packed & 0x7fff) * width + x;
      if (at >= this.surface.length) continue;
      if (Math.abs(this.surface[at]) < FADED) this.risen[this.tile(x, packed & 0x7fff)]++;
      this.surface[at] = packed & 0x8000 ? 1 : -1;
    }
  }

  tile(x, y) {
    return Math.floor((y * TILES) / this.height) * TILES + Math.floor((x * TILES) / this.width);
  }

  /** Fade to `nowMs` and paint. */
  draw(nowMs) {
    const { surface, pixels } = this;
    const elapsed = Math.max(0, nowMs - this.lastMs);
    const keep = Math.exp(-elapsed / this.decayMs);
    this.lastMs = nowMs;
    this.limit(elapsed);
    const palette = this.colours();
    for (let at = 0; at < pixels.length; at++) {
      surface[at] *= keep;
      pixels[at] = palette[LEVELS + ((surface[at] * LEVELS) | 0)];
    }
    this.context.putImageData(this.image, 0, 0);
  }

  /** Dim at once when much of any window lights up together; brighten again slowly. */
  limit(elapsedMs) {
    const { risen } = this;
    const windowArea = (4 * this.width * this.height) / (TILES * TILES);
    let area = 0;
    for (let row = 0; row + 1 < TILES; row++) {
      for (let column = 0; column + 1 < TILES; column++) {
        const at = row * TILES + column;
        area = Math.max(area, (risen[at] + risen[at + 1] + risen[at + TILES] + risen[at + TILES + 1]) / windowArea);
      }
    }
    const target = 1 - Math.min(1, Math.max(0, (area - AREA_FREE) / (AREA_FULL - AREA_FREE)));
    this.gain = target < this.gain ? target : Math.min(target, this.gain + elapsedMs / RELEASE_MS);
    for (let tile = 0; tile < risen.length; tile++) risen[tile] *= Math.exp(-elapsedMs / TOGETHER_MS);
  }

  colours() {
    const step = Math.round(this.gain * 32);
    if (this.palette?.step === step) return this.palette.colours;
    const gain = step / 32;
    const colours = new Uint32Array(2 * LEVELS + 1);
    for (let level = 0; level <= LEVELS; level++) {
      colours[LEVELS + level] = mix(DIM.on, VIVID.on, gain, level / LEVELS);
      colours[LEVELS - level] = mix(DIM.off, VIVID.off, gain, level / LEVELS);
    }
    this.palette = { step, colours };
    return colours;
  }
}
