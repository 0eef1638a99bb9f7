// The evidence of the leading classes over time.

import { cssVariable, element } from "../dom.js";

const HISTORY_US = 4_000_000; // shown, and 300 steps at most
const LEADERS = 4;
export const FIRST = 10; // steps that fill a running plot; it holds more with every one, up to its history

/** How many steps of this length a running plot shows. */
export const historyOf = (stepUs) => Math.max(60, Math.min(300, Math.round(HISTORY_US / (stepUs || 1e4))));

/** Fit the canvas's pixels to the element's size; true if it changed, and so is empty. */
export function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * ratio)), height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  if (canvas.width === width && canvas.height === height) return false;
  Object.assign(canvas, { width, height });
  return true;
}

/** The classes' probabilities over steps: scrolling while live, the whole run for a file. */
export class Trace {
  constructor(canvas, legend) {
    Object.assign(this, { canvas, legend, context: canvas.getContext("2d") });
    this.clear();
  }

  clear() {
    this.history = [];
    this.labels = [];
    this.pointed = null;
    this.tones = new Map(); // class -> one of six tones, kept as long as the class leads
    this.span = 2;
    this.changed = true;
    this.legend.replaceChildren();
    this.legend.dataset.key = "";
  }

  setLabels(labels, stepUs) {
    this.clear();
    this.kept = historyOf(stepUs);
    this.labels = labels;
  }

  push({ probabilities }) {
    this.history.push(probabilities);
    if (this.history.length > this.kept) this.history.shift();
    this.span = Math.max(FIRST, this.history.length);
    this.changed = true;
  }

  /** Show all steps at once; a single one as a line, too. */
  show(steps) {
    this.history = (steps.length > 1 ? steps : [...steps, ...steps]).map(({ probabilities }) => probabilities);
    this.span = Math.max(2, steps.length);
    this.changed = true;
  }

  /** Mark one of the steps; null for none. */
  point(step) {
    this.pointed = step;
    this.changed = true;
  }

  leaders() {
    const recent = this.history.slice(-60);
    const mean = this.labels.map((_, k) => recent.reduce((sum, row) => sum + row[k], 0));
    return mean.map((value, k) => [value, k]).sort((a, b) => b[0] - a[0]).slice(0, LEADERS).map(([, k]) => k);
  }

  colour(leaders) {
    for (const k of this.tones.keys()) if (!leaders.includes(k)) this.tones.delete(k);
    const used = new Set(this.tones.values());
    const free = [1, 2, 3, 4, 5, 6].filter((tone) => !used.has(tone));
    for (const k of leaders) if (!this.tones.has(k)) this.tones.set(k, free.shift());
  }

  draw() {
    if (!fit(this.canvas) && !this.changed) return;
    this.changed = false;
    const { context, canvas, history } = this;
    const { width, height } = canvas;
    const leaders = this.leaders(), ratio = window.devicePixelRatio || 1;
    const top = 8 * ratio, bottom = height - 16 * ratio, left = 44 * ratio;
    context.clearRect(0, 0, width, height);
    context.font = `${11 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    context.textBaseline = "middle";
    const y = (value) => bottom - (bottom - top) * value;
    for (const value of [0, 0.5, 1]) {
      context.fillStyle = cssVariable("--line");
      context.fillRect(left, y(value) - ratio / 2, width - left, ratio);
      context.fillStyle = cssVariable("--ink-2");
      context.fillText(`${100 * value} %`, 0, y(value));
    }
    if (!history.length) return;
    const x = (i) => left + ((width - left - 2 * ratio) * (this.span - history.length + i)) / (this.span - 1);
    this.colour(leaders);
    if (this.pointed !== null) {
      context.fillStyle = cssVariable("--accent-soft");
      context.fillRect(x(this.pointed) - 4 * ratio, top, 8 * ratio, bottom - top);
    }
    context.lineWidth = 2 * ratio;
    context.lineJoin = "round";
    for (const k of [...leaders].reverse()) {
      context.strokeStyle = cssVariable(`--p${this.tones.get(k)}`);
      context.beginPath();
      history.forEach((row, i) => context.lineTo(x(i), y(row[k])));
      context.stroke();
    }
    const key = leaders.join();
    if (this.legend.dataset.key !== key) {
      this.legend.dataset.key = key;
      this.legend.replaceChildren(...leaders.map((k) => element("span", "", element("i", { data: { tone: this.tones.get(k) } }), this.labels[k])));
    }
  }
}
