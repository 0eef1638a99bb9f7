// Interface of modes that have one stream, for sources; and what to say when the server cannot keep up with it.

import { KIND, Stream } from "../net/stream.js";
import { report } from "../panel/connection.js";
import { state } from "../state.js";

const COUNTED_MS = 2000; // of frames; and how long is said that the server is too slow
const OLD_MS = 500; // an answer is too old when what came after it has waited so long
const SOON_MS = 100; // a slower answer makes the next frame wait: the server's queue shrinks, at the same rate

/** Base class of what gets answers from a server that may be too slow; `free`: whether it can take the next input. */
export class Paced {
  constructor() {
    this.begun();
  }

  begun() {
    this.inputs = []; // {ms, sent} of the last frames and packets
    this.answeredMs = this.slowMs = -Infinity; // capture time of the last one that was answered; when it was too old
    this.nextMs = 0; // no frame is sent before
  }

  note(ms, sent) {
    this.inputs.push({ ms, sent });
  }

  /** A sentence if the latest answer is, or lately was, too old to be shown as the present one; else "". */
  tooSlow(nowMs) {
    this.inputs = state.paused ? [] : this.inputs.filter(({ ms }) => nowMs - ms < COUNTED_MS);
    const waiting = this.inputs.find(({ ms }) => ms > this.answeredMs);
    if (waiting && nowMs - waiting.ms > OLD_MS && (nowMs < this.nextMs || !this.free)) this.slowMs = nowMs;
    if (nowMs - this.slowMs > COUNTED_MS) return "";
    const dropped = this.inputs.filter(({ sent }) => !sent).length;
    return `the server is too slow: ${dropped ? `${dropped} of ${this.inputs.length} frames dropped` : "its answers come late"}`;
  }
}

/** Base class of what has one `stream`: begin(message), prediction(message) and failed(sentence) are called by it. */
export class OneStream extends Paced {
  /** parts: events, an EventView; stop(): ends the source; opened(): called when the stream is ready. */
  constructor(parts) {
    super();
    Object.assign(this, parts);
    this.stream = new Stream({
      state: (status, why) => this.changed(status, why),
      ready: (message) => { this.begun(); this.begin(message); this.opened(); },
      prediction: (message) => this.prediction(message),
      answered: (message) => this.answered(message, performance.now()),
      teaching: (body) => this.update(body),
      picture: (picture) => state.paused || this.events.add(picture),
      bad: (text) => this.failed(text),
    });
  }

  changed(status, why) {
    return report(status, why, this.stop);
  }

  get ready() {
    return this.stream.ready;
  }

  get free() {
    return this.stream.free;
  }

  /** Send a frame if the stream is free; jpeg() is called only then and returns its bytes. */
  async frame(captureMs, jpeg) {
    if (!this.stream.ready) return;
    const seq = captureMs < this.nextMs ? null : this.stream.reserve();
    this.note(captureMs, seq !== null);
    if (seq === null) this.stream.dropped++;
    const bytes = seq !== null && (await jpeg());
    if (bytes) this.stream.send(seq, captureMs, KIND.image, bytes);
  }

  packet(nowMs, bytes) {
    this.note(nowMs, this.stream.offer(KIND.t64, bytes, nowMs));
  }

  /** What was captured at t has its answer. */
  answered({ t }, nowMs) {
    this.answeredMs = t ?? nowMs;
    this.nextMs = nowMs + Math.min(OLD_MS, Math.max(0, nowMs - t - SOON_MS));
  }

  command(text) {
    this.stream.command(text);
  }
}
