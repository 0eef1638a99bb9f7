// Read events from a recording's bytes, thin them for the view, and bin them for the network.

import { T64_BYTES, t64Times } from "../shared/sources/player.js";
import { Crop } from "./crop.js";
import { emptyEvents } from "./emulator.js";
import { grid, NoiseGate, Pool, pools } from "./filters.js";

const MOST_SHOWN = 4096;
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

/** Read events of the t64 layout. */
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

/** encoders/events.py's Order: late events count at the newest time before them; times far behind are a clock restart. */
class Order {
  constructor(backUs) {
    Object.assign(this, { backUs, newest: -Infinity });
  }

  /** Split a packet where time falls; `anew`: the clock has restarted. */
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

/** encoders/dvs.py's StreamBinner, event by event: consecutive bins from the first event on, after a pool if the sensor is
 * larger than that of the training data, else after a noise filter. Each input shows the events of the last bins, cropped
 * around the object if the network was trained so. */
export class StreamBinner {
  /** facts: model.json; the sensor's size in pixels. */
  constructor({ contract, front }, sensorWidth, sensorHeight, gapUs = 1_000_000, backUs = 100_000) {
    const sensor = { width: sensorWidth, height: sensorHeight }, follows = contract.frame === "object";
    const trained = contract.pooled ? contract : { width: contract.sensor_width, height: contract.sensor_height };
    const pool = !follows && pools(sensor, trained) ? new Pool(sensor, trained) : null;
    this.filter = pool ?? (contract.filter_us ? new NoiseGate(sensor, contract.filter_us, front.from_hz) : null);
    this.order = new Order(backUs);
    this.crop = follows ? new Crop(contract, sensor, front) : null;
    const seen = pool ? { width: trained.width, height: trained.height } : sensor, { width, height } = this.crop?.fine ?? contract;
    Object.assign(this, { width, height, binUs: contract.bin_us, ceiling: CEILINGS[contract.encoding], seen, gapUs, backUs });
    Object.assign(this, { shown: front.shown, since: new Uint16Array(2 * width * height).fill(front.shown) });
    Object.assign(this, grid(seen.width, seen.height, width, height));
    this.origin = null; // start of the open bin; null before the first event and while idle
    this.last = 0; // time of the newest event
    this.reset = false; // the next bin to close is the first after a jump
    this.blank();
  }

  blank() {
    this.open = new Uint8Array(2 * this.width * this.height);
    this.nOpen = 0;
  }

  /** Add a packet; return the bins {x Uint8Array [2, H, W], startUs, endUs, nEvents, reset} that it closes. */
  push(events) {
    if (!this.filter) return this.take(events);
    const bins = [];
    for (const { piece, anew } of this.order.pieces(events)) {
      if (anew && this.origin !== null) this.stop(bins);
      bins.push(...this.take(this.filter.push(piece)), ...this.tick(piece.t[piece.n - 1])); // time goes on
    }
    return bins;
  }

  /** Add events in the binned sensor's pixels; return the bins they close. */
  take({ n, t, x, y, p }) {
    const bins = [];
    for (let i = 0; i < n; i++) {
      if (x[i] >= this.seen.width || y[i] >= this.seen.height) continue;
      this.add(this.reach(t[i], bins), x[i], y[i], p[i]);
    }
    return bins;
  }

  /** Make the bin of time t the open one; return the time at which the event counts. */
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

  /** Note that the source was looked at without events: bins begin at tUs or continue to it, as at an event. */
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
    const endUs = this.origin + this.binUs, { reset, nOpen: nEvents } = this;
    let x = this.seenLately();
    if (this.crop) x = this.crop.around(x, reset);
    bins.push({ x, startUs: this.origin, endUs, nEvents, reset });
    this.origin = endUs;
    this.reset = false;
    this.blank();
  }

  /** The closing bin joined with the earlier bins that an input shows. */
  seenLately() {
    const { open, since, shown } = this;
    if (shown === 1) return open;
    if (this.reset) since.fill(shown);
    for (let cell = 0; cell < open.length; cell++) since[cell] = open[cell] ? 0 : Math.min(since[cell] + 1, shown);
    return Uint8Array.from(since, (bins) => bins < shown);
  }

  stop(bins) {
    if (this.nOpen) this.close(bins);
    this.origin = null;
    this.reset = true;
  }
}
