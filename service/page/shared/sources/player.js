// Plays a recording in real time as t64 packets: each packet has the events that became due since the last one. Each round
// starts at time 0 again, so that the receiver sees the clock restart and resets the membranes.

export const T64_BYTES = 13; // an event: t u64 in microseconds, x u16, y u16, on u8, little-endian
const MAX_EVENTS = 100_000; // of one message: 1.3 MB
const REST_US = 250_000; // between two rounds

export class Player {
  /** bytes: t64 events; durationUs: length of one round. */
  constructor(bytes, durationUs) {
    this.bytes = bytes;
    this.times = t64Times(bytes);
    this.first = this.times[0] ?? 0;
    this.durationUs = Math.max(durationUs, (this.times.at(-1) ?? 0) - this.first + 1);
    this.at = 0; // index of the next event
    this.playedUs = 0; // position in this round
  }

  /** Advance by `us`; return the packet that became due, null in the pause between rounds. */
  advance(us) {
    this.playedUs += us;
    if (this.playedUs >= this.durationUs + REST_US) this.playedUs = this.at = 0;
    const from = this.at;
    const until = this.first + this.playedUs;
    while (this.at < this.times.length && this.times[this.at] < until && this.at - from < MAX_EVENTS) this.at++;
    if (this.at === from) return null;
    return shiftT64(this.bytes.subarray(from * T64_BYTES, this.at * T64_BYTES), -this.first);
  }
}

/** Microsecond times of t64 events (exact up to 2^53). */
export function t64Times(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const n = Math.floor(bytes.byteLength / T64_BYTES);
  const times = new Float64Array(n);
  for (let i = 0; i < n; i++) times[i] = Number(view.getBigUint64(i * T64_BYTES, true));
  return times;
}

/** The same events, `offsetUs` later. */
function shiftT64(bytes, offsetUs) {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  const offset = BigInt(Math.round(offsetUs));
  for (let at = 0; at + T64_BYTES <= copy.byteLength; at += T64_BYTES) view.setBigUint64(at, view.getBigUint64(at, true) + offset, true);
  return copy;
}
