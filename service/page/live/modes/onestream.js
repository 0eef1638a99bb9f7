// Interface of modes that have one stream, for sources.

import { KIND } from "../net/stream.js";

/** Base class of modes with one `stream`. */
export class OneStream {
  get ready() {
    return this.stream.ready;
  }

  get free() {
    return this.stream.free;
  }

  /** Send a frame if the stream is free; jpeg() is called only then and returns its bytes. */
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
