// Memory and head that a taught network adds to its backbone, as in models/engine/taught.py, in floats.

const LEAST = 1e-3; // of a rate, below a square root
const f32 = Math.fround;

export class Head {
  /** facts: model.json; read: returns the floats of a name in the facts' "engine". */
  constructor({ taught, contract }, read) {
    Object.assign(this, taught, { channels: contract.channels, rows: contract.height, columns: contract.width });
    [this.weight, this.bias] = [read("head"), read("head_bias")];
    this.values = this.weight.length / this.bias.length / this.slices; // observed in a step
    this.restart();
  }

  restart() {
    this.sums = Array.from({ length: this.slices + 1 }, () => new Float32Array(this.values)); // the last one is being filled
    this.steps = 0;
  }

  /** Add a step's rates of the backbone and input [C, H, W]; return {logits, rates} of the window. */
  step(rates, x) {
    const filling = this.sums[this.slices];
    [...rates, ...this.shares(x)].forEach((value, at) => (filling[at] += f32(value)));
    const means = this.means();
    const features = means.map((mean) => f32(Math.sqrt(f32(mean + f32(LEAST)))));
    const logits = Array.from(this.bias, (bias, k) => {
      const row = this.weight.subarray(k * features.length, (k + 1) * features.length);
      return f32(row.reduce((sum, weight, at) => sum + weight * features[at], bias));
    });
    return { logits, rates: this.watched(means) };
  }

  /** The share of non-zero inputs at each place. */
  shares(x) {
    const { rows: height, columns: width, input_places: side } = this, shares = [];
    const bound = (place, length) => [Math.floor((place * length) / side), Math.ceil(((place + 1) * length) / side)];
    for (let at = 0; at < this.channels * side * side; at++) {
      const [top, bottom] = bound(Math.floor(at / side) % side, height), [left, right] = bound(at % side, width);
      let count = 0;
      for (let y = top, plane = Math.floor(at / side / side) * height; y < bottom; y++) {
        for (let place = left; place < right; place++) count += x[(plane + y) * width + place] !== 0;
      }
      shares.push(count / ((bottom - top) * (right - left)));
    }
    return shares;
  }

  /** Return Float32Array [slices values]; while a slice is being filled, the older ones are interpolated. */
  means() {
    const { slices, length, values, sums } = this, means = new Float32Array(slices * values);
    const filled = (this.steps % length) + 1;
    this.steps = Math.min(this.steps + 1, 2 * length);
    const part = f32(filled / length), left = f32(1 - part), scale = f32(1 / Math.min(this.steps, length));
    for (let slice = 0; slice < slices; slice++) {
      const newer = slice < slices - 1 ? part : 1;
      for (let v = 0; v < values; v++) {
        means[slice * values + v] = f32(f32(f32(left * sums[slice][v]) + f32(newer * sums[slice + 1][v])) * scale);
      }
    }
    if (filled === length) this.sums = [...sums.slice(1), new Float32Array(values)];
    if (this.steps === 2 * length) this.steps = length;
    return means;
  }

  /** Mean rates by channel of the first layers, over slices and places. */
  watched(means) {
    const places = this.places ** 2, scale = f32(1 / (this.slices * places));
    return Array.from({ length: this.width }, (_, channel) => {
      let total = 0;
      for (let slice = 0; slice < this.slices; slice++) {
        for (let v = channel * places; v < (channel + 1) * places; v++) total = f32(total + means[slice * this.values + v]);
      }
      return Math.max(f32(total * scale), 0);
    });
  }
}
