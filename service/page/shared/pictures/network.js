// Inside the network: every layer as a map whose neurons light up as they fire, and all layers over time.

import { cssVariable, element, rgb } from "../dom.js";
import { EventView } from "./eventview.js";
import { FIRST, fit, historyOf } from "./plots.js";
import { Layer } from "./spikes.js";

const FADE_MS = 300;
const ROWS = 8; // of the bitmap, a layer
const TONES = 6;

export class NetworkView {
  /** root: a <details> with only a summary; ask(on): called with whether to probe from now on. */
  constructor(root, ask) {
    root.insertAdjacentHTML("beforeend", `
      <ol class="maps"></ol>
      <div class="plot"><div class="layers" aria-hidden="true"></div><canvas id="raster" role="img" aria-label="Spikes over time, a band a layer: brighter where more of its neurons fire"></canvas></div>`);
    const [list, names, raster] = [".maps", ".layers", "#raster"].map((selector) => root.querySelector(selector));
    Object.assign(this, { root, list, names, raster });
    this.bitmap = element("canvas"); // a pixel a step and row
    root.addEventListener("toggle", () => ask(root.open));
    this.setMaps([], { width: 1, height: 1 }, 1);
  }

  get probe() {
    return this.root.open;
  }

  /** Set the network's layers and input size; stepUs: length of a step, 1 if it has none. */
  setMaps(maps, { width, height }, stepUs) {
    const key = JSON.stringify([maps, width, height]);
    this.stepUs = stepUs;
    if (key !== this.key) {
      this.key = key;
      this.layers = maps.reduce((layers, map) => [...layers, new Layer(map, layers.at(-1)?.end ?? 0)], []);
      this.bytes = this.layers.at(-1)?.end ?? 0;
      this.views = maps.length ? [{ title: "input", width, height }, ...this.layers].map((map) => this.mapOf(map)) : [];
      this.list.replaceChildren(...this.views.map(({ item }) => item));
      this.names.replaceChildren(...maps.map(({ title, channels }, i) => element("span", { data: { tone: (i % TONES) + 1 } }, `${title}, ${channels} channels`)));
    }
    this.clear();
  }

  /** Add a map with a name and a count of firing neurons. */
  mapOf(map) {
    const count = element("small"), canvas = element("canvas", { width: map.width, height: map.height });
    return { item: element("li", "", canvas, element("span", "", map.title), count), count, view: new EventView(canvas) };
  }

  clear() {
    this.last = this.insides = this.pointed = null; // insides: of a recording, every step
    this.resize(historyOf(this.stepUs));
    for (const { view, count } of this.views) {
      view.clear();
      count.textContent = "";
    }
  }

  /** Make room for so many steps over time. */
  resize(kept) {
    this.kept = kept;
    this.pushed = 0;
    Object.assign(this.bitmap, { width: kept, height: Math.max(1, ROWS * this.layers.length) });
    this.changed = true;
  }

  /** How many of these are drawn. */
  get shown() {
    return this.insides ? this.kept : Math.min(this.kept, Math.max(FIRST, this.pushed));
  }

  /** Show one step of a stream. */
  push(inside, reset = false) {
    if (inside.fired.length !== this.bytes) return; // of another network, before
    const context = this.bitmap.getContext("2d");
    context.globalCompositeOperation = "copy";
    context.drawImage(this.bitmap, -1, 0);
    context.globalCompositeOperation = "source-over";
    this.column(inside, this.kept - 1, reset);
    this.pushed++;
    this.light(inside, "light");
  }

  /** Show all steps of a recording. */
  show(insides) {
    this.clear();
    this.insides = insides;
    this.resize(insides.length);
    insides.forEach((inside, step) => this.column(inside, step, false));
  }

  /** Show one step of the recording. */
  point(step) {
    this.pointed = step;
    for (const layer of this.layers) layer.count(this.insides[step].fired);
    this.light(this.insides[step], "show");
  }

  /** Count a step and draw it over time at x; a grey line marks a reset of the membranes. */
  column({ fired }, x, reset) {
    const image = new ImageData(1, this.bitmap.height);
    this.layers.forEach((layer, i) => {
      layer.count(fired);
      const { lines } = layer, tone = rgb(`--p${(i % TONES) + 1}`), anew = [...rgb("--track"), 255];
      for (let row = 0; row < ROWS; row++) {
        const lit = lines[Math.floor((row * lines.length) / ROWS)];
        image.data.set(reset && !lit ? anew : [...tone, 255 * lit], 4 * (ROWS * i + row));
      }
    });
    this.bitmap.getContext("2d").putImageData(image, x, 0);
  }

  /** Draw the maps of a counted step; how: "light" (earlier steps fade) or "show" (only this step). */
  light(inside, how) {
    this.last = inside;
    this.views[0].view[how](Float32Array.from(inside.input, (value) => value / 255));
    this.layers.forEach((layer, i) => this.views[i + 1].view[how](layer.levels));
    this.changed = true;
  }

  /** Paint at nowMs; still: nothing fades; speed: of a recording's time, by which it fades. */
  draw(nowMs, still = false, speed = 1) {
    if (!this.root.open || !this.layers.length) return;
    for (const { view } of this.views) {
      view.decayMs = FADE_MS / speed;
      if (still || this.insides) view.lastMs = nowMs;
      view.draw(nowMs);
    }
    if (!fit(this.raster) && !this.changed) return;
    this.changed = false;
    if (this.last) this.layers.forEach(({ all }, i) => (this.views[i + 1].count.textContent = `${all} ${all === 1 ? "spike" : "spikes"}`));
    this.drawOverTime();
  }

  drawOverTime() {
    const { raster, bitmap, kept, shown } = this, context = raster.getContext("2d"), ratio = window.devicePixelRatio || 1;
    const bottom = raster.height - 16 * ratio, band = bottom / this.layers.length;
    context.clearRect(0, 0, raster.width, raster.height);
    context.imageSmoothingEnabled = false;
    this.layers.forEach((_, i) => context.drawImage(bitmap, kept - shown, ROWS * i, shown, ROWS, 0, i * band, raster.width, band - 2 * ratio));
    if (this.pointed !== null) {
      context.strokeStyle = cssVariable("--ink");
      context.lineWidth = ratio;
      context.strokeRect((this.pointed * raster.width) / shown, 0, raster.width / shown, bottom);
    }
    context.fillStyle = cssVariable("--ink-2");
    context.font = `${11 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    context.textBaseline = "bottom";
    for (const { x, words } of this.ticks()) {
      context.textAlign = x < 0.05 ? "left" : x > 0.95 ? "right" : "center";
      context.fillText(words, x * raster.width, raster.height);
    }
  }

  /** Draw the time axis: words at positions from 0 to 1. */
  ticks() {
    const ms = (this.shown * this.stepUs) / 1000;
    if (this.stepUs < 2) return [{ x: 0, words: "step 1" }, { x: 1, words: `step ${this.shown}` }];
    if (this.insides) return [0, 0.5, 1].map((x) => ({ x, words: `${Math.round(x * ms)} ms` }));
    return [{ x: 0, words: `${(ms / 1000).toFixed(1)} s ago` }, { x: 1, words: "now" }];
  }
}
