// A sample as the network gets it: one frame a step, and all frames as a raster of pixels over steps.

import { cssVariable, rgb } from "../../shared/dom.js";
import { bytesOf } from "../../shared/pictures/spikes.js";

const [GROUND, ON, OFF] = ["--event-ground", "--event-on", "--event-off"].map(rgb);
const ROWS = 96; // pixels of the raster

export class SpikeTrain {
  /** body: the answer of POST /v1/encode. */
  constructor(body) {
    Object.assign(this, body);
    this.data = bytesOf(body.frames);
    this.exposure = body.exposure && new Blob([bytesOf(body.exposure)], { type: "image/png" });
    this.pixels = this.channels * this.height * this.width;
    this.rows = this.choose();
  }

  get busiest() {
    const counts = Array.from({ length: this.steps }, (_, step) => this.data.subarray(step * this.pixels, (step + 1) * this.pixels).reduce((sum, value) => sum + (value ? 1 : 0), 0));
    return counts.indexOf(Math.max(...counts));
  }

  /** Draw the frame of one step: intensity as a picture, spikes in the event colours or one tone for each channel. */
  draw(canvas, step) {
    const { width, height, channels } = this;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    canvas.classList.toggle("coarse", width < 200);
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let at = 0; at < width * height; at++) {
      const values = Array.from({ length: channels }, (_, channel) => this.data[step * this.pixels + channel * width * height + at]);
      image.data.set([...this.colour(values), 255], 4 * at);
    }
    context.putImageData(image, 0, 0);
  }

  colour(values) {
    if (this.values === "intensity") return values.length === 3 ? values : [values[0], values[0], values[0]];
    if (values.length === 3) return values.map((value, i) => (value ? 235 : GROUND[i]));
    if (values.length === 2) return values[1] ? ON : values[0] ? OFF : GROUND;
    return values[0] ? ON : GROUND;
  }

  /** Pixels shown in the raster: evenly spaced among those that are ever active, earliest first. */
  choose() {
    const first = new Map();
    for (let at = this.data.length - 1; at >= 0; at--) if (this.data[at]) first.set(at % this.pixels, Math.floor(at / this.pixels));
    const active = [...first.keys()].sort((a, b) => a - b);
    const stride = Math.max(1, active.length / ROWS);
    const picked = Array.from({ length: Math.min(ROWS, active.length) }, (_, i) => active[Math.floor(i * stride)]);
    return picked.sort((a, b) => first.get(a) - first.get(b) || a - b);
  }

  drawRaster(canvas, step) {
    const ratio = window.devicePixelRatio || 1;
    Object.assign(canvas, { width: Math.round(canvas.clientWidth * ratio), height: Math.round(canvas.clientHeight * ratio) });
    const context = canvas.getContext("2d");
    const column = canvas.width / this.steps, row = canvas.height / Math.max(1, this.rows.length);
    context.fillStyle = cssVariable("--accent-soft");
    context.fillRect(step * column, 0, column, canvas.height);
    const half = this.pixels / 2;
    const tones = [cssVariable("--p1"), cssVariable("--p2")];
    this.rows.forEach((pixel, i) => {
      for (let at = 0; at < this.steps; at++) {
        const value = this.data[at * this.pixels + pixel];
        if (!value) continue;
        context.globalAlpha = this.values === "intensity" ? value / 255 : 1;
        context.fillStyle = this.channels === 2 && pixel < half ? tones[1] : tones[0];
        context.fillRect(at * column + 0.5, i * row, Math.max(1, column - 1), Math.max(1, row - 0.6));
      }
    });
    context.globalAlpha = 1;
  }
}
