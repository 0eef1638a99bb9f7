// Preprocessing before the bins: a large sensor's events reduced to a small sensor's, and a noise filter.

import { emptyEvents } from "./emulator.js";

const LEAST = 2; // pixels along the side of a large one
const GATE_US = 5000, GATE_FRESH = 0.15, STRICT_HZ = 7, WIDE = 4, NEEDED = 3; // encoders/preprocess/filters.py

/** Entry i is the target of sensor line i, or -1 outside the central `crop` lines. */
function table(n, crop, target) {
  const margin = Math.floor((n - crop) / 2);
  return Int32Array.from({ length: n }, (_, i) => (i >= margin && i < margin + crop ? Math.floor(((i - margin) * target) / crop) : -1));
}

/** Map sensor columns and rows to the network's input: the centre of the sensor, cut to the input's aspect ratio. */
export function grid(sensorWidth, sensorHeight, width, height) {
  const wide = sensorWidth * height > sensorHeight * width;
  const cropWidth = wide ? Math.max(1, Math.floor((sensorHeight * width) / height)) : sensorWidth;
  const cropHeight = wide ? sensorHeight : Math.max(1, Math.floor((sensorWidth * height) / width));
  return { columns: table(sensorWidth, cropWidth, width), rows: table(sensorHeight, cropHeight, height) };
}

/** encoders/preprocess/pool.py: reduce a large sensor's events to those of a small one; sizes {width, height}. */
export class Pool {
  constructor(sensor, { width, height }) {
    const { columns, rows } = grid(sensor.width, sensor.height, width, height);
    const across = counts(columns, width), down = counts(rows, height);
    const area = Int32Array.from({ length: width * height }, (_, at) => across[at % width] * down[Math.floor(at / width)]);
    Object.assign(this, { width, columns, rows, area, level: new Int32Array(area.length) });
  }

  /** Add a packet; return the events of the large pixels. */
  push({ n, t, x, y, p }) {
    const fired = emptyEvents(n);
    let count = 0;
    for (let i = 0; i < n; i++) {
      const column = this.columns[x[i]] ?? -1, row = this.rows[y[i]] ?? -1;
      if (column < 0 || row < 0) continue;
      const at = row * this.width + column, step = p[i] ? 1 : -1;
      this.level[at] += step;
      if (this.level[at] * step < this.area[at]) continue;
      this.level[at] = 0;
      [fired.t[count], fired.x[count], fired.y[count], fired.p[count]] = [t[i], column, row, p[i]];
      count++;
    }
    return { ...fired, n: count };
  }
}

/** Whether a sensor's pixels are so much finer than another's that they are pooled. */
export function pools(sensor, { width, height }) {
  return Math.min(Math.floor(sensor.width / width), Math.floor(sensor.height / height)) >= LEAST;
}

function counts(targets, length) {
  const lines = new Int32Array(length);
  for (const target of targets) if (target >= 0) lines[target]++;
  return lines;
}

/** encoders/preprocess/filters.py's NoiseGate. A lone event had none in the eight pixels around it lately. Depending on
 * the rate of lone events, it passes all events, or those that are not lone, or those with three such pixels within four
 * times the time. */
export class NoiseGate {
  constructor({ width, height }, timeUs, fromHz) {
    Object.assign(this, { width, height, timeUs, fromHz, newest: null, rateHz: null, lone: 0 });
    this.fired = new Float64Array((width + 2) * (height + 2)).fill(-Infinity);
  }

  /** Return the events of a packet that pass; times never fall, except when the clock restarts. */
  push({ n, t, x, y, p }) {
    const kept = [];
    for (let i = 0; i < n; i++) if (x[i] < this.width && y[i] < this.height && this.passes(t[i], x[i], y[i])) kept.push(i);
    const [times, columns, rows, signs] = [t, x, y, p].map((of) => of.constructor.from(kept, (i) => of[i]));
    return { n: kept.length, t: times, x: columns, y: rows, p: signs };
  }

  passes(t, x, y) {
    if (this.newest !== null) this.turn(Math.floor(t / GATE_US) !== Math.floor(this.newest / GATE_US));
    if (t < this.newest) this.fired.fill(-Infinity);
    this.newest = t;
    const row = this.width + 2, at = (y + 1) * row + x + 1;
    let some = false, near = 0;
    for (const beside of [-row - 1, -row, -row + 1, -1, 1, row - 1, row, row + 1]) {
      const age = t - this.fired[at + beside];
      some ||= age <= this.timeUs;
      near += age <= WIDE * this.timeUs;
    }
    this.fired[at] = t;
    this.lone += !some;
    if (this.rateHz !== null && this.rateHz > STRICT_HZ) return near >= NEEDED;
    return some || (this.rateHz !== null && this.rateHz <= this.fromHz);
  }

  /** If an interval has ended, average its rate with those before. */
  turn(ended) {
    if (!ended) return;
    const rateHz = this.lone / (this.width * this.height * GATE_US * 1e-6), before = this.rateHz ?? rateHz;
    this.rateHz = before + GATE_FRESH * (rateHz - before);
    this.lone = 0;
  }
}
