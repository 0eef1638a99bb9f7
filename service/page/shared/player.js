// Plays a recording in real time as t64 packets: whatever became due since the last packet goes out as the next one.

import { T64_BYTES, shiftT64, t64Times } from "./wire.js";

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
    this.roundStartUs = 0; // on the stream's clock, which never goes back
  }

  /** Advance by `us` and return {packet, restarted}; packet is null in the rest between rounds. */
  advance(us) {
    this.playedUs += us;
    let restarted = false;
    if (this.playedUs >= this.durationUs + REST_US) {
      this.roundStartUs += this.durationUs + REST_US;
      this.playedUs = 0;
      this.at = 0;
      restarted = true;
    }
    const from = this.at;
    const until = this.first + this.playedUs;
    while (this.at < this.times.length && this.times[this.at] < until && this.at - from < MAX_EVENTS) this.at++;
    if (this.at === from) return { packet: null, restarted };
    const part = this.bytes.subarray(from * T64_BYTES, this.at * T64_BYTES);
    return { packet: shiftT64(part, this.roundStartUs - this.first), restarted };
  }
}
