// The event picture: a surface of signed brightness changes that fades, drawn in blue (brighter) and orange (darker).
// It must not flash (WCAG 2.3.1), whatever the sensor sees. Sampled pixels are watched: where many of them have swung to
// and fro lately, colours come near to the ground (no two differ by 0.09 in relative luminance then) and new events are
// averaged in instead of set, so that flicker settles to a still tone. Vividness comes back slowly.

import { rgb } from "../dom.js";
import { FlashWatch, LINEAR } from "./safety.js";

const GROUND = rgb("--event-ground");
const VIVID = { on: rgb("--event-on"), off: rgb("--event-off") };
const DIM = { on: rgb("--event-on-dim"), off: rgb("--event-off-dim") };
const LEVELS = 64;
const DIM_SHARE = 0.22; // strength of the dim colours beside the vivid ones
const AREA_FREE = 0.08, AREA_FULL = 0.2; // share of flashing pixels in a window; WCAG counts from 0.25 on
const RELEASE_MS = 2500;
const AVERAGED = 0.15; // weight of a new event where the picture is dim

const encode = (linear) => Math.round(255 * (linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055));

/** Packed pixel mixed in linear light: from the ground to (dim -> vivid by `gain`), by `level`. */
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

  /** Light pixels up to these levels, 0 to 1, where they are darker. */
  light(levels) {
    const weight = AVERAGED + (1 - AVERAGED) * this.gain, { surface } = this;
    for (let at = 0; at < levels.length; at++) if (levels[at] > surface[at]) surface[at] += weight * (levels[at] - surface[at]);
  }

  /** Show only these levels. */
  show(levels) {
    this.surface.set(levels);
    this.lastMs = performance.now();
    this.draw(this.lastMs);
  }

  /** Fade to `nowMs` and paint; still: leave all as it is until then. */
  draw(nowMs, still = false) {
    const { surface, pixels } = this, elapsed = Math.max(0, nowMs - this.lastMs), keep = Math.exp(-elapsed / this.decayMs);
    this.lastMs = nowMs;
    if (still) return;
    for (let at = 0; at < surface.length; at++) surface[at] *= keep;
    const area = this.watch.flashing(surface, DIM_SHARE + (1 - DIM_SHARE) * this.gain, nowMs);
    const target = 1 - Math.min(1, Math.max(0, (area - AREA_FREE) / (AREA_FULL - AREA_FREE)));
    this.gain = target < this.gain ? target : Math.min(target, this.gain + elapsed / RELEASE_MS);
    const palette = this.colours();
    for (let at = 0; at < pixels.length; at++) pixels[at] = palette[LEVELS + ((surface[at] * LEVELS) | 0)];
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
