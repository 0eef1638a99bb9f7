// Plays a recording in real time as t64 packets: each packet has the events that became due since the last one. Each round
// starts at time 0 again, so that the receiver sees the clock restart and resets the membranes.

import { T64_BYTES, shiftT64, t64Times } from "./t64.js";

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
