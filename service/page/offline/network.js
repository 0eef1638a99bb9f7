// The folder's network: what model.json says of it, the step model under ONNX Runtime Web with its membranes carried from
// step to step, and the read-out behind it.

import { Known, softmax, Steady } from "./novelty.js";
import * as ort from "./vendor/ort.js";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL("vendor/ort.wasm", import.meta.url).href };

async function read(name) {
  const answered = await fetch(name);
  if (!answered.ok) throw new Error(`the folder lacks ${name}`);
  return answered;
}

/** {facts: model.json, pixels: what an Emulator takes}. */
export async function loadFacts() {
  const facts = await (await read("model.json")).json();
  const { width, height, levels, leak_hz: leakHz } = facts.pixels;
  const values = new Float32Array(await (await read("pixels.f32")).arrayBuffer()); // little-endian, as every browser's
  const [on, off, start] = [0, 1, 2].map((part) => values.subarray(part * width * height, (part + 1) * width * height));
  return { facts, pixels: { width, height, levels: Float32Array.from(levels), on, off, start, leakHz } };
}

/** The mean of what each step gives over the last `steps` steps: Readout in models/steps.py. */
export class Readout {
  constructor(steps) {
    this.steps = steps;
    this.recent = [];
  }

  push(values) {
    this.recent.push(Float64Array.from(values));
    if (this.recent.length > this.steps) this.recent.shift();
  }

  get mean() {
    return Array.from(this.recent[0], (_, k) => this.recent.reduce((sum, values) => sum + values[k], 0) / this.recent.length);
  }
}

export class Network {
  /** facts: model.json; url: of the ONNX file. */
  static async load(facts, url) {
    const session = await ort.InferenceSession.create(url, { executionProviders: ["wasm"] });
    return new Network(facts, session);
  }

  constructor(facts, session) {
    Object.assign(this, { facts, session });
    this.known = facts.known && new Known(facts.known);
    this.horizon = facts.contract.readout || facts.contract.steps;
    this.begin();
  }

  /** Another source: nothing was seen, no label is shown. */
  begin() {
    this.steady = new Steady(this.facts.labels, this.facts.steady);
    this.quiet = 0;
    this.restart();
  }

  restart() {
    this.state = Object.fromEntries(Object.entries(this.facts.state).map(([key, shape]) => [key, zeros([1, ...shape])]));
    this.readout = new Readout(this.horizon);
    this.steady.restart();
    this.step = 0;
  }

  /** One step: x Float32Array [C, H, W]; {logits, probabilities, index, label, known, steady, spikes, step, reset}. */
  async run(x, reset = false) {
    const active = x.reduce((count, value) => count + (value !== 0), 0);
    const fresh = this.woken(active) || reset;
    if (fresh) this.restart();
    const { channels, height, width } = this.facts.contract;
    const feeds = { x: new ort.Tensor("float32", x, [1, channels, height, width]) };
    for (const [key, tensor] of Object.entries(this.state)) feeds[`state.${key}`] = tensor;
    const results = await this.session.run(feeds);
    for (const key of Object.keys(this.state)) this.state[key] = results[`after.${key}`];
    const logits = Array.from(results.logits.data);
    this.readout.push(this.known ? [...logits, ...results.rates.data, active] : logits);
    const judged = this.judge(logits.length);
    const index = judged.probabilities.indexOf(Math.max(...judged.probabilities));
    const label = judged.nothing ? "nothing" : judged.known !== null && judged.known < this.facts.steady.kept ? "unknown" : this.facts.labels[index];
    return { logits, ...judged, index, label, steady: this.steady.push(judged), spikes: this.spikes(), step: ++this.step, reset: fresh };
  }

  /** Which of the neurons that the raster shows fired in this step; the membrane of one that did is above its threshold. */
  spikes() {
    return this.facts.raster.flatMap(({ key, theta, inclusive, rows }) => {
      const { data } = this.state[key];
      return rows.map((at) => (data[at] > theta || (inclusive && data[at] === theta) ? 1 : 0));
    });
  }

  /** Whether this step is the first one behind a long quiet: membranes begin at rest then. */
  woken(active) {
    if (!this.known) return false;
    const asleep = this.quiet >= this.horizon;
    this.quiet = active < this.known.activeInputs ? this.quiet + 1 : 0;
    return asleep && !this.quiet;
  }

  judge(classes) {
    const { mean } = this.readout;
    if (!this.known) return { probabilities: softmax(mean), known: null, nothing: false };
    return this.known.judge(mean.slice(0, classes), mean.slice(classes, -1), mean.at(-1), this.readout.recent.length);
  }
}

function zeros(shape) {
  return new ort.Tensor("float32", new Float32Array(shape.reduce((product, side) => product * side, 1)), shape);
}
