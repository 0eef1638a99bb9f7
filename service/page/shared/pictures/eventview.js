// The event picture: a surface of signed brightness changes that fades, drawn in blue (brighter) and orange (darker).
// It must not flash (WCAG 2.3.1), whatever the sensor sees. Sampled pixels are watched: where many of them have swung to
// and fro lately, colours come near to the ground (no two differ by 0.09 in relative luminance then) and new events are
// averaged in instead of set, so that flicker settles to a still tone. Vividness comes back slowly.

import { rgb } from "../dom.js";
import { LINEAR } from "./safety.js";

const GROUND = rgb("--event-ground");
const VIVID = { on: rgb("--event-on"), off: rgb("--event-off") };
const DIM = { on: rgb("--event-on-dim"), off: rgb("--event-off-dim") };
const LEVELS = 64;
const SAMPLES_X = 32, SAMPLES_Y = 24;
const DIM_SHARE = 0.22; // strength of the dim colours beside the vivid ones
const SWING = 0.23; // of a level: about 0.09 in relative luminance
const SWINGS = 5; // in a second, that make a pixel a flashing one; three flashes are six
const AREA_FREE = 0.08, AREA_FULL = 0.2; // share of flashing pixels in a window; WCAG counts from 0.25 on
const RELEASE_MS = 2500;
const AVERAGED = 0.15; // weight of a new event where the picture is dim

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
    this.watch = new FlashWatch(width, height);
    this.lastMs = performance.now();
    this.draw(this.lastMs);
  }

  clear() {
    this.surface.fill(0);
    this.draw(performance.now());
  }

  add({ width, height, n, pairs }) {
    if (width !== this.width || height !== this.height) this.resize(width, height);
    const weight = AVERAGED + (1 - AVERAGED) * this.gain;
    for (let i = 0; i < n; i++) {
      const x = pairs[2 * i], packed = pairs[2 * i + 1];
      const at = (packed & 0x7fff) * width + x;
      if (at < this.surface.length) this.surface[at] += weight * ((packed & 0x8000 ? 1 : -1) - this.surface[at]);
    }
  }

  /** Fade to `nowMs` and paint. */
  draw(nowMs) {
    const { surface, pixels } = this;
    const elapsed = Math.max(0, nowMs - this.lastMs);
    const keep = Math.exp(-elapsed / this.decayMs);
    this.lastMs = nowMs;
    for (let at = 0; at < surface.length; at++) surface[at] *= keep;
    const area = this.watch.flashing(surface, DIM_SHARE + (1 - DIM_SHARE) * this.gain, nowMs);
    const target = 1 - Math.min(1, Math.max(0, (area - AREA_FREE) / (AREA_FULL - AREA_FREE)));
    this.gain = target < this.gain ? target : Math.min(target, this.gain + elapsed / RELEASE_MS);
    const palette = this.colours();
    for (let at = 0; at < pixels.length; at++) {
      pixels[at] = palette[LEVELS + ((surface[at] * LEVELS) | 0)];
    }
    this.context.putImageData(this.image, 0, 0);
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

/** Watches a grid of pixels for swings to and fro. */
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
