// One layer enlarged, a map for each channel, and one neuron's membrane potential and threshold over the last second.

import { cssVariable } from "../dom.js";
import { EventView } from "./eventview.js";
import { fit } from "./plots.js";

const SECOND_US = 1_000_000;
const MARKUP = `
  <figure><figcaption><h3></h3><button type="button" class="quiet" aria-label="Close the layer">✕</button></figcaption>
    <canvas tabindex="0" role="img"></canvas></figure>
  <figure><figcaption><h3>Membrane</h3><span class="note"></span></figcaption>
    <canvas role="img" aria-label="Membrane of the neuron over the last second, with its threshold"></canvas></figure>`;

export class Enlarged {
  /** panel: an empty element; chosen(): called for another neuron; closed(): called by the button. */
  constructor(panel, { chosen, closed }) {
    panel.innerHTML = MARKUP;
    Object.assign(this, { panel, chosen });
    [this.tiles, this.plot] = panel.querySelectorAll("canvas");
    [this.title, this.caption] = [panel.querySelector("h3"), panel.querySelector(".note")];
    panel.querySelector("button").addEventListener("click", closed);
    this.tiles.addEventListener("click", (event) => this.clicked(event));
    this.tiles.addEventListener("keydown", (event) => this.moved(event));
    this.close();
  }

  close() {
    this.layer = this.neuron = this.view = null;
    this.history = [];
    this.panel.hidden = true;
  }

  /** Show a layer's channels side by side; fired: the neurons that fired in the last step, or null. */
  open(layer, fired) {
    const { channels, height, width, title } = layer;
    this.layer = layer;
    this.across = Math.min(channels, Math.ceil(Math.sqrt((2 * channels * height) / width)));
    const down = Math.ceil(channels / this.across);
    Object.assign(this.tiles, { width: this.across * (width + 1) + 1, height: down * (height + 1) + 1 });
    this.tiles.setAttribute("aria-label", `${title}, a map a channel; arrow keys choose a neuron`);
    this.title.textContent = `${title}: ${channels} channels`;
    this.view = new EventView(this.tiles);
    this.panel.hidden = false;
    let busy = null; // a neuron that fired, or the middle one
    if (fired) layer.spikes(fired, (channel, pixel) => (busy ??= { channel, pixel }));
    this.choose(busy ?? { channel: 0, pixel: (height >> 1) * width + (width >> 1) });
  }

  choose({ channel, pixel }) {
    const { width } = this.layer;
    this.neuron = { channel, pixel, row: Math.floor(pixel / width), column: pixel % width };
    this.history = [];
    this.chosen();
  }

  clicked({ offsetX, offsetY }) {
    const { channels, height, width } = this.layer, { tiles } = this;
    const x = (offsetX / tiles.clientWidth) * tiles.width - 1, y = (offsetY / tiles.clientHeight) * tiles.height - 1;
    const channel = Math.floor(y / (height + 1)) * this.across + Math.floor(x / (width + 1));
    const column = Math.floor(x % (width + 1)), row = Math.floor(y % (height + 1));
    if (x >= 0 && y >= 0 && channel < channels && column < width && row < height) this.choose({ channel, pixel: row * width + column });
  }

  /** Move to the next neuron by the arrow keys, across channels' maps. */
  moved(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const { channels, height, width } = this.layer, { channel, row, column } = this.neuron;
    const x = (channel % this.across) * width + column + step[0], y = Math.floor(channel / this.across) * height + row + step[1];
    const next = Math.floor(y / height) * this.across + Math.floor(x / width);
    if (x >= 0 && y >= 0 && x < this.across * width && next < channels) this.choose({ channel: next, pixel: (y % height) * width + (x % width) });
  }

  /** A neuron's position in the picture. */
  place({ channel, pixel }) {
    const { width, height } = this.layer;
    const x = 1 + (channel % this.across) * (width + 1) + (pixel % width);
    return [x, 1 + Math.floor(channel / this.across) * (height + 1) + Math.floor(pixel / width)];
  }

  /** 1 if a neuron fired, else 0. */
  levels(fired) {
    const levels = new Float32Array(this.tiles.width * this.tiles.height);
    this.layer.spikes(fired, (channel, pixel) => {
      const [x, y] = this.place({ channel, pixel });
      levels[y * this.tiles.width + x] = 1;
    });
    return levels;
  }

  /** Add the neuron's state in a step; `kept` steps are remembered. */
  remember({ fired, membranes }, kept) {
    if (!membranes) return;
    this.history.push({ value: membranes[this.neuron.channel], spike: this.layer.fires(fired, this.neuron) });
    if (this.history.length > kept) this.history.shift();
  }

  /** The number of steps in a second. */
  static second(stepUs) {
    return Math.max(2, Math.floor(SECOND_US / stepUs));
  }

  /** Draw a frame around the neuron, the membrane over `span` steps, and for a recording the shown step. */
  draw(span, pointed) {
    const [x, y] = this.place(this.neuron), { context } = this.view;
    context.strokeStyle = cssVariable("--event-off");
    context.lineWidth = 1;
    context.strokeRect(x - 0.5, y - 0.5, 2, 2);
    const { channel, row, column } = this.neuron, spikes = this.history.filter(({ spike }) => spike).length;
    const said = this.history.length ? `: ${spikes} ${spikes === 1 ? "spike" : "spikes"}` : "";
    this.caption.textContent = `channel ${channel + 1}, row ${row + 1}, column ${column + 1}${said}`;
    this.drawMembrane(span, pointed);
  }

  drawMembrane(span, pointed) {
    const { plot, history } = this, context = plot.getContext("2d"), ratio = window.devicePixelRatio || 1;
    fit(plot);
    const threshold = this.layer.thresholds[this.neuron.channel], values = history.map(({ value }) => value);
    const low = Math.min(0, ...values), high = Math.max(1.25 * threshold, ...values);
    const top = 10 * ratio, bottom = plot.height - 8 * ratio, left = 66 * ratio;
    const x = (i) => left + ((plot.width - left - 4 * ratio) * (span - history.length + i)) / (span - 1);
    const y = (value) => bottom - ((bottom - top) * (value - low)) / (high - low);
    context.clearRect(0, 0, plot.width, plot.height);
    context.font = `${11 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    context.textBaseline = "middle";
    context.lineWidth = ratio;
    for (const [value, words, dash, colour] of [[threshold, "threshold", [4 * ratio, 4 * ratio], "--ink-2"], [0, "rest", [], "--line"]]) {
      context.strokeStyle = cssVariable(colour);
      context.setLineDash(dash);
      context.beginPath();
      context.moveTo(left, y(value));
      context.lineTo(plot.width, y(value));
      context.stroke();
      context.fillStyle = cssVariable("--ink-2");
      context.fillText(words, 0, y(value));
    }
    context.setLineDash([]);
    if (pointed !== null) {
      context.fillStyle = cssVariable("--accent-soft");
      context.fillRect(x(pointed) - 4 * ratio, top, 8 * ratio, bottom - top);
    }
    context.lineWidth = 2 * ratio;
    context.lineJoin = "round";
    context.strokeStyle = cssVariable("--p4");
    context.beginPath();
    values.forEach((value, i) => context.lineTo(x(i), y(value)));
    context.stroke();
    context.fillStyle = cssVariable("--off");
    history.forEach(({ spike }, i) => spike && context.fillRect(x(i) - ratio, 0, 2 * ratio, 8 * ratio));
  }
}
