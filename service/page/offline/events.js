// Events of a recording's bytes, as the view takes them, and as closed bins for the network.

import { T64_BYTES, t64Times } from "../shared/sources/t64.js";
import { emptyEvents } from "./emulator.js";

const MOST_SHOWN = 4096;
const LEAST = 2; // pixels along the side of a large one
const CEILINGS = { binary: 1, count: 255 };

/** At most MOST_SHOWN events, evenly thinned, as EventView.add takes them. */
export function picture({ n, x, y, p }, width, height) {
  const shown = Math.min(n, MOST_SHOWN);
  const pairs = new Uint16Array(2 * shown);
  for (let i = 0; i < shown; i++) {
    const at = Math.floor((i * n) / shown);
    pairs[2 * i] = x[at];
    pairs[2 * i + 1] = y[at] | (p[at] << 15);
  }
  return { width, height, n: shown, pairs };
}

/** Events of the t64 layout. */
export function t64Events(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const times = t64Times(bytes);
  const events = emptyEvents(times.length);
  times.forEach((t, i) => {
    events.t[i] = t;
    events.x[i] = view.getUint16(i * T64_BYTES + 8, true);
    events.y[i] = view.getUint16(i * T64_BYTES + 10, true);
    events.p[i] = view.getUint8(i * T64_BYTES + 12);
  });
  return events;
}

/** Entry i is the target of sensor line i, or -1 outside the central `crop` lines. */
function table(n, crop, target) {
  const margin = Math.floor((n - crop) / 2);
  return Int32Array.from({ length: n }, (_, i) => (i >= margin && i < margin + crop ? Math.floor(((i - margin) * target) / crop) : -1));
}

/** Where sensor columns and rows land in the network's plane: its middle, cut to the plane's aspect ratio. */
export function grid(sensorWidth, sensorHeight, width, height) {
  const wide = sensorWidth * height > sensorHeight * width;
  const cropWidth = wide ? Math.max(1, Math.floor((sensorHeight * width) / height)) : sensorWidth;
  const cropHeight = wide ? sensorHeight : Math.max(1, Math.floor((sensorWidth * height) / width));
  return { columns: table(sensorWidth, cropWidth, width), rows: table(sensorHeight, cropHeight, height) };
}

/** encoders/preprocess/pool.py: the events of a large sensor as those of a small one, {width, height} each. */
export class Pool {
  constructor(sensor, { width, height }) {
    const { columns, rows } = grid(sensor.width, sensor.height, width, height);
    const across = counts(columns, width), down = counts(rows, height);
    const area = Int32Array.from({ length: width * height }, (_, at) => across[at % width] * down[Math.floor(at / width)]);
    Object.assign(this, { width, columns, rows, area, level: new Int32Array(area.length) });
  }

  /** The events of large pixels that a packet makes. */
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

/** Whether a sensor's pixels are so much finer than those of another that they are summed. */
export function pools(sensor, { width, height }) {
  return Math.min(Math.floor(sensor.width / width), Math.floor(sensor.height / height)) >= LEAST;
}

function counts(targets, length) {
  const lines = new Int32Array(length);
  for (const target of targets) if (target >= 0) lines[target]++;
  return lines;
}

/** encoders/events.py's Order: events that are late count at the newest time before them; far behind is a clock restart. */
class Order {
  constructor(backUs) {
    Object.assign(this, { backUs, newest: -Infinity });
  }

  /** The pieces of a packet in which time never falls, and whether a clock begins anew with them. */
  pieces({ n, t, x, y, p }) {
    const ordered = new Float64Array(n), pieces = [];
    let begin = 0, anew = false;
    const cut = (end) => {
      const [times, ...others] = [ordered, x, y, p].map((column) => column.subarray(begin, end));
      if (end > begin) pieces.push({ piece: { n: end - begin, t: times, x: others[0], y: others[1], p: others[2] }, anew });
      begin = end;
    };
    for (let i = 0; i < n; i++) {
      if (t[i] < this.newest - this.backUs) {
        cut(i);
        [anew, this.newest] = [true, t[i]];
      }
      ordered[i] = this.newest = Math.max(this.newest, t[i]);
    }
    cut(n);
    return pieces;
  }
}

/** encoders/dvs.py's StreamBinner, event by event: bins follow each other from the first event, behind a pool where the
 * sensor is larger than the one that the model was trained on. */
export class StreamBinner {
  /** contract: of the model; the sensor's size in pixels. */
  constructor({ width, height, bin_us, encoding, ...trained }, sensorWidth, sensorHeight, gapUs = 1_000_000, backUs = 100_000) {
    const sensor = { width: sensorWidth, height: sensorHeight };
    const small = { width: trained.sensor_width, height: trained.sensor_height };
    this.pool = pools(sensor, small) ? new Pool(sensor, small) : null;
    this.order = new Order(backUs);
    const seen = this.pool ? small : sensor;
    Object.assign(this, { width, height, binUs: bin_us, ceiling: CEILINGS[encoding], seen, gapUs, backUs });
    Object.assign(this, grid(seen.width, seen.height, width, height));
    this.origin = null; // start of the open bin; null before the first event and while idle
    this.last = 0; // time of the newest event
    this.reset = false; // the next bin to close is the first after a jump
    this.blank();
  }

  blank() {
    this.open = new Float32Array(2 * this.width * this.height);
    this.nOpen = 0;
  }

  /** Bins {x Float32Array [2, H, W], startUs, endUs, nEvents, reset} that a packet closes. */
  push(events) {
    if (!this.pool) return this.take(events);
    const bins = [];
    for (const { piece, anew } of this.order.pieces(events)) {
      if (anew && this.origin !== null) this.stop(bins);
      bins.push(...this.take(this.pool.push(piece)), ...this.tick(piece.t[piece.n - 1])); // time goes on
    }
    return bins;
  }

  /** The bins that events of the sensor that is binned close. */
  take({ n, t, x, y, p }) {
    const bins = [];
    for (let i = 0; i < n; i++) {
      if (x[i] >= this.seen.width || y[i] >= this.seen.height) continue;
      this.add(this.reach(t[i], bins), x[i], y[i], p[i]);
    }
    return bins;
  }

  /** Make the bin of time t the open one; the time the event counts at. */
  reach(t, bins) {
    if (this.origin !== null) {
      const floor = Math.max(this.last, this.origin);
      if (t < floor - this.backUs || t - this.last > this.gapUs) {
        if (t > this.last) this.closeUntil(this.last + this.gapUs, bins);
        this.stop(bins);
      } else if (t < floor) {
        t = floor;
      }
    }
    if (this.origin === null) this.origin = this.last = t;
    this.last = Math.max(this.last, t);
    this.closeUntil(t, bins);
    return t;
  }

  add(t, x, y, p) {
    const column = this.columns[x], row = this.rows[y];
    if (column < 0 || row < 0) return;
    const at = (p * this.height + row) * this.width + column;
    if (this.open[at] < this.ceiling) this.open[at]++;
    this.nOpen++;
  }

  /** The source was looked at and nothing came: bins begin at tUs, or go on to it, as at an event. */
  look(tUs) {
    const bins = [];
    this.reach(tUs, bins);
    return bins;
  }

  /** Close the bins that end by nowUs, at most a gap beyond the newest event. */
  tick(nowUs) {
    const bins = [];
    if (this.origin === null) return bins;
    const limit = this.last + this.gapUs;
    this.closeUntil(Math.min(nowUs, limit), bins);
    if (nowUs > limit) this.stop(bins);
    return bins;
  }

  closeUntil(endUs, bins) {
    while (this.origin + this.binUs <= endUs) this.close(bins);
  }

  close(bins) {
    const endUs = this.origin + this.binUs;
    bins.push({ x: this.open, startUs: this.origin, endUs, nEvents: this.nOpen, reset: this.reset });
    this.origin = endUs;
    this.reset = false;
    this.blank();
  }

  stop(bins) {
    if (this.nOpen) this.close(bins);
    this.origin = null;
    this.reset = true;
  }
}
