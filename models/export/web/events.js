// Frames -> events -> the bins that a network sees, in WebAssembly: encoders/native/kernels/{pixels,front,follow}.h, which the C
// export and its sources say more of. Events are bytes of the t64 layout (shared/sources/player.js).

import { T64_BYTES } from "../shared/sources/player.js";

const MOST_SHOWN = 4096;
const PACKET = 4096; // events, browser.cpp's
const CEILINGS = { binary: 1, count: 255 };

let engine; // what the module exports
let bins = [], inputs = 0; // those that the running call closes, of so many bytes

/** Make the module from its bytes, once; return what it exports. */
export async function startEngine(code) {
  if (engine) return engine;
  const closed = (at, startUs, endUs, nEvents, reset) => bins.push({ x: memory(Uint8Array, at, inputs).slice(), startUs, endUs, nEvents, reset: reset !== 0 });
  const { instance } = await WebAssembly.instantiate(code, { page: { closed } });
  engine = instance.exports;
  engine._initialize();
  return engine;
}

/** A view of the engine's memory, valid until it grows. */
function memory(Numbers, at, length) {
  return new Numbers(engine.memory.buffer, at, length);
}

/** Something of the engine's, until its release. */
export class Part {
  constructor(at) {
    if (!at) throw new Error("there is no memory for it");
    this.at = at;
  }

  /** A view of what the part's pointer of this number leads to. */
  view(Numbers, pointer, length) {
    return memory(Numbers, memory(Uint32Array, this.at, pointer + 1)[pointer], length);
  }

  release() {
    engine.release(this.at);
  }
}

/** Cuts a stream of events into bins {x Uint8Array [2, H, W], startUs, endUs, nEvents, reset}. */
export class StreamBinner extends Part {
  /** facts: model.json; the camera's size in pixels. */
  constructor({ contract, front }, width, height) {
    const trained = contract.pooled ? [contract.width, contract.height] : [contract.sensor_width, contract.sensor_height];
    const small = contract.frame === "object" ? [0, 0] : trained, rules = [front.from_hz, front.shown, CEILINGS[contract.encoding]];
    super(engine.stream_open(width, height, ...small, contract.width, contract.height, contract.bin_us, contract.filter_us, ...rules, front.kept ?? 0, front.share ?? 0));
    this.inputs = 2 * contract.width * contract.height;
  }

  /** Add events; return the bins that they close. */
  push(events) {
    [bins, inputs] = [[], this.inputs];
    for (let at = 0; at < events.length; at += PACKET * T64_BYTES) {
      const piece = events.subarray(at, at + PACKET * T64_BYTES);
      this.view(Uint8Array, 0, piece.length).set(piece);
      engine.stream_push(this.at, piece.length / T64_BYTES);
    }
    return bins;
  }

  /** Note that the source was looked at without events: bins begin at tUs or continue to it, as at an event. */
  look(tUs) {
    [bins, inputs] = [[], this.inputs];
    engine.stream_reach(this.at, tUs);
    return bins;
  }
}

/** Grey frames to events. */
export class Emulator extends Part {
  /** pixels: {width, height, levels [256] log intensity by grey value, on, off, start [H W] of each pixel, leakHz}, and
   * where they are so: cutoffHz, the photoreceptor's bandwidth; silentUs after an event. */
  constructor({ width, height, levels, on, off, start, leakHz, cutoffHz = 0, silentUs = 0 }) {
    super(engine.eye_open(width, height, leakHz, cutoffHz, silentUs));
    const parameters = this.view(Float32Array, 0, levels.length + 3 * on.length);
    [levels, on, off, start].reduce((at, values) => (parameters.set(values, at), at + values.length), 0);
  }

  /** Start again: the next frame is the first. */
  forget() {
    engine.eye_forget(this.at);
  }

  /** The events between the previous frame and this one (Uint8Array [H W], captured at tUs, whole microseconds). */
  push(grey, tUs) {
    this.view(Uint8Array, 1, grey.length).set(grey);
    const n = engine.eye_push(this.at, tUs);
    return this.view(Uint8Array, 2, n * T64_BYTES).slice();
  }
}

/** At most MOST_SHOWN events, evenly thinned, as EventView.add takes them. */
export function picture(events, width, height) {
  const view = new DataView(events.buffer, events.byteOffset, events.byteLength), n = events.length / T64_BYTES;
  const shown = Math.min(n, MOST_SHOWN), pairs = new Uint16Array(2 * shown);
  for (let i = 0; i < shown; i++) {
    const at = Math.floor((i * n) / shown) * T64_BYTES;
    pairs[2 * i] = view.getUint16(at + 8, true);
    pairs[2 * i + 1] = view.getUint16(at + 10, true) | (view.getUint8(at + 12) << 15);
  }
  return { width, height, n: shown, pairs };
}
