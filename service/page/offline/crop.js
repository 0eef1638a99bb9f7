// Crop each step around the moving object, whatever its place and size, for networks trained on such crops.

const CELLS = 16, PRIOR = 300, EXTENT = 2.2, FINEST = 128; // encoders/roi/alignment.py

/** encoders/roi/alignment.py's TrackingBinner: crop a step around what moves, by the events of the last steps, weighted by
 * age. Sums are added in NumPy's order, so that they agree in the last digit. */
export class Crop {
  /** width, height: the network's; kept: share of the counts kept from step to step; share: weight of a new bin's counts. */
  constructor({ width, height }, sensor, { kept, share }) {
    const scale = Math.min(1, FINEST / Math.max(sensor.width, sensor.height));
    const fine = { width: Math.max(1, Math.round(sensor.width * scale)), height: Math.max(1, Math.round(sensor.height * scale)) };
    Object.assign(this, { width, height, fine, kept, share });
    this.cell = { width: Math.ceil(fine.width / CELLS), height: Math.ceil(fine.height / CELLS) };
    this.forget();
  }

  forget() {
    this.crowd = new Float64Array(CELLS * CELLS).fill(PRIOR / CELLS ** 2);
  }

  around(seen, reset) {
    if (reset) this.forget();
    const { fine, cell, crowd, kept, share } = this;
    const lit = [];
    seen.forEach((value, i) => value && lit.push({ p: Math.floor(i / fine.width / fine.height), y: Math.floor(i / fine.width) % fine.height, x: i % fine.width }));
    const found = new Float64Array(CELLS * CELLS);
    for (const { x, y } of lit) found[Math.floor(y / cell.height) * CELLS + Math.floor(x / cell.width)]++;
    this.crowd = crowd.map((count, i) => count * kept + share * found[i]);
    const { x: middleX, y: middleY, half } = this.place();
    const out = new Uint8Array(2 * this.width * this.height);
    for (const { p, x, y } of lit) {
      const u = Math.floor((((x + 0.5 - middleX) / half + 1) / 2) * this.width);
      const v = Math.floor((((y + 0.5 - middleY) / half + 1) / 2) * this.height);
      if (u >= 0 && u < this.width && v >= 0 && v < this.height) out[(p * this.height + v) * this.width + u] = 1;
    }
    return out;
  }

  /** The object's centre and half its side; noise is spread evenly over the sensor, an object is not. */
  place() {
    const { cell, crowd } = this, mean = sumOf(crowd) / crowd.length;
    let above = crowd.map((count) => Math.max(count - mean, 0));
    if (!above.some(Boolean)) above = above.fill(1);
    const rows = Array.from({ length: CELLS }, (_, y) => above.subarray(y * CELLS, (y + 1) * CELLS));
    const columns = rows.reduce((sums, row) => sums.map((sum, x) => sum + row[x]), new Float64Array(CELLS));
    const [x, spreadX] = medianOf(columns), [y, spreadY] = medianOf(Float64Array.from(rows, sumOf));
    const half = EXTENT * Math.hypot(spreadX * cell.width, spreadY * cell.height);
    return { x: x * cell.width, y: y * cell.height, half: Math.max(half, 1) };
  }
}

/** Sum numbers as NumPy does: 8 at a time, in halves above 128. */
function sumOf(values) {
  if (values.length > 128) return sumOf(values.subarray(0, values.length / 2)) + sumOf(values.subarray(values.length / 2));
  const r = values.slice(0, 8);
  for (let i = 8; i < values.length; i++) r[i % 8] += values[i];
  return r[0] + r[1] + (r[2] + r[3]) + (r[4] + r[5] + (r[6] + r[7]));
}

/** Median of the positions 0.5, 1.5, ... with these weights, and the mean distance from it. */
function medianOf(weights) {
  let sum = 0;
  const sums = weights.map((weight) => (sum += weight)), at = sums.findIndex((one) => one >= sum / 2);
  const median = at + (sum / 2 - (sums[at] - weights[at])) / weights[at];
  return [median, sumOf(weights.map((weight, i) => Math.abs(i + 0.5 - median) * weight)) / sum];
}
