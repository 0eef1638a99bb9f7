// Grey frames -> events: the pixel model of encoders/emulator/pixels.py without noise, event for event (float32 throughout).
// A pixel holds a log intensity; each time the light is one threshold above (ON) or below (OFF) it, an event fires and
// the held value moves by that threshold. Times are interpolated between frames.

const LONGEST_INTERVAL_US = 10_000_000;
const f32 = Math.fround;

/** Events in order of time: {n, t (us), x, y, p (1 = ON)}. */
export function emptyEvents(n = 0) {
  return { n, t: new Float64Array(n), x: new Uint16Array(n), y: new Uint16Array(n), p: new Uint8Array(n) };
}

/** Convert RGBA pixels to grey uint8 (ITU-R BT.601 weights, in 256ths). */
export function luma(rgba) {
  const grey = new Uint8Array(rgba.length / 4);
  for (let i = 0, at = 0; i < grey.length; i++, at += 4) grey[i] = (77 * rgba[at] + 150 * rgba[at + 1] + 29 * rgba[at + 2]) >> 8;
  return grey;
}

export class Emulator {
  /** pixels: {width, height, levels [256] log intensity by grey value, on, off, start [H W] of each pixel, leakHz}, and
   * where they are so: cutoffHz, the photoreceptor's bandwidth; silentUs after an event. */
  constructor({ width, height, levels, on, off, start, leakHz, cutoffHz = 0, silentUs = 0 }) {
    Object.assign(this, { width, height, levels, on, off, start, leakHz, cutoffHz, silentUs });
    this.limit = 4 * width * height; // crossings of one frame; what is over comes with the next
    this.forget();
  }

  /** Start again: the next frame is the first. */
  forget() {
    this.tUs = null;
  }

  /** The events between the previous frame and this one (Uint8Array [H W], captured at tUs, whole microseconds). */
  push(grey, tUs) {
    const intervalUs = this.tUs === null ? 0 : tUs - this.tUs;
    if (!(intervalUs > 0 && intervalUs <= LONGEST_INTERVAL_US)) return this.begin(grey, tUs);
    const { n, offsets, words } = this.crossings(grey, intervalUs);
    const events = inOrder(n, offsets, words, this.tUs);
    this.tUs = tUs;
    return events;
  }

  begin(grey, tUs) {
    this.last = Float32Array.from(grey, (value) => this.levels[value]);
    this.reference = this.last.map((level, i) => level + this.start[i]);
    this.free = new Float64Array(grey.length).fill(-Infinity); // when each pixel's silence ends
    this.tUs = tUs;
    return emptyEvents();
  }

  crossings(grey, intervalUs) {
    const { width, height, levels, on, off, reference, last, free, limit, cutoffHz, silentUs } = this;
    const seconds = intervalUs * 1e-6, dt = f32(intervalUs), leak = f32(this.leakHz * seconds);
    const follows = f32(1 - Math.exp(-2 * Math.PI * cutoffHz * seconds)); // how far a pixel follows the light
    const offsets = [], words = [];
    let crossed = 0;
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const before = last[at], light = levels[grey[at]], up = on[at], down = off[at];
        const level = cutoffHz ? f32(before + f32(follows * f32(light - before))) : light;
        last[at] = level;
        let r = leak > 0 ? f32(reference[at] - f32(leak * up)) : reference[at];
        const change = f32(level - before);
        while (crossed < limit) {
          const rising = level >= f32(r + up);
          if (!rising && level > f32(r - down)) break;
          crossed++;
          r = rising ? f32(r + up) : f32(r - down);
          const part = change === 0 ? 1 : Math.min(Math.max(f32(f32(r - before) / change), 0), 1);
          const offset = Math.trunc(f32(part * dt)), t = this.tUs + offset;
          if (silentUs && t < free[at]) continue;
          free[at] = t + silentUs;
          offsets.push(offset);
          words.push(((x << 17) | (y << 1) | (rising ? 1 : 0)) >>> 0);
        }
        reference[at] = r;
      }
    }
    return { n: offsets.length, offsets: Uint32Array.from(offsets), words: Uint32Array.from(words) };
  }
}

/** Sort stably by offset, 16 bits at a time, as many as there are. */
function inOrder(n, offsets, words, startUs) {
  let order = Uint32Array.from({ length: n }, (_, i) => i);
  for (const shift of offsets.some((offset) => offset > 0xffff) ? [0, 16] : [0]) {
    const starts = new Uint32Array(65537);
    for (let i = 0; i < n; i++) starts[((offsets[i] >>> shift) & 0xffff) + 1]++;
    for (let b = 0; b < 65536; b++) starts[b + 1] += starts[b];
    const sorted = new Uint32Array(n);
    for (const i of order) sorted[starts[(offsets[i] >>> shift) & 0xffff]++] = i;
    order = sorted;
  }
  const events = emptyEvents(n);
  order.forEach((i, place) => {
    events.t[place] = startUs + offsets[i];
    events.x[place] = words[i] >>> 17;
    events.y[place] = (words[i] >>> 1) & 0xffff;
    events.p[place] = words[i] & 1;
  });
  return events;
}
