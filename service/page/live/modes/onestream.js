// What a source asks of whoever looks through one stream.

import { KIND } from "../net/stream.js";

/** The base of modes with one `stream`. */
export class OneStream {
  get ready() {
    return this.stream.ready;
  }

  get free() {
    return this.stream.free;
  }

  /** jpeg(): the frame's bytes, asked for only when they can be sent. */
  async frame(captureMs, jpeg) {
    const seq = this.stream.reserve();
    if (seq === null) {
      if (this.stream.ready) this.stream.dropped++;
      return;
    }
    const bytes = await jpeg();
    if (bytes) this.stream.send(seq, captureMs, KIND.image, bytes);
  }

  packet(nowMs, bytes) {
    this.stream.offer(KIND.t64, bytes, nowMs);
  }

  command(text) {
    this.stream.command(text);
  }
}
