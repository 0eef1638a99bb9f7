// The network's activity in a step, from an answer: one bit for each neuron (whether it fired), and counts of these.

const LINES = 8; // of a layer over time: groups of its channels
const FORGOTTEN = 0.995; // of the most spikes that a layer showed, a step

export const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Decode `inside` of an answer: {input: bytes [H W], fired: bits}. */
export const opened = ({ input, fired }) => ({ input: bytesOf(input), fired: bytesOf(fired) });

/** One layer's spikes [H, W, C] among the bits of all layers, with counts by pixel and by row. */
export class Layer {
  /** map: {title, channels, height, width}; first: position of the layer's first byte. */
  constructor(map, first) {
    Object.assign(this, map, { first });
    this.wide = 2 * Math.ceil(map.channels / 16); // bytes of a pixel
    this.size = map.height * map.width * this.wide;
    this.end = first + this.size;
    this.counts = new Float32Array(map.height * map.width);
    this.sums = new Float32Array(Math.min(LINES, map.channels));
    this.all = 0;
    this.most = this.mostOfLine = 1;
  }

  /** Call `each(channel, pixel)` for every neuron that fired. */
  spikes(fired, each) {
    for (let at = 0; at < this.size; at++) {
      for (let byte = fired[this.first + at], channel = 8 * (at % this.wide); byte; byte = (byte << 1) & 255, channel++) {
        if (byte & 128) each(channel, Math.floor(at / this.wide));
      }
    }
  }

  count(fired) {
    this.all = 0;
    this.counts.fill(0);
    this.sums.fill(0);
    this.spikes(fired, (channel, pixel) => {
      this.counts[pixel]++;
      this.sums[Math.floor((channel * this.sums.length) / this.channels)]++;
      this.all++;
    });
    this.most = Math.max(1, FORGOTTEN * this.most, ...this.counts);
    this.mostOfLine = Math.max(1, FORGOTTEN * this.mostOfLine, ...this.sums);
  }

  /** The brightness of each pixel of the map, 0 to 1. */
  get levels() {
    return this.counts.map((count) => Math.sqrt(count / this.most));
  }

  /** The brightness of each row. */
  get lines() {
    return this.sums.map((count) => Math.sqrt(count / this.mostOfLine));
  }
}
