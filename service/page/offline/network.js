// The folder's network: what model.json says of it, the step model under ONNX Runtime Web with its membranes carried from
// step to step, and the read-out behind it.

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

/** The mean of the logits over the last `steps` steps, and its softmax: models/classifier.py's Readout. */
export class Readout {
  constructor(steps) {
    this.steps = steps;
    this.recent = [];
  }

  push(logits) {
    this.recent.push(Float64Array.from(logits));
    if (this.recent.length > this.steps) this.recent.shift();
  }

  probabilities() {
    const mean = this.recent[0].map((_, k) => this.recent.reduce((sum, logits) => sum + logits[k], 0) / this.recent.length);
    const most = Math.max(...mean);
    const powers = Array.from(mean, (value) => Math.exp(value - most));
    const total = powers.reduce((sum, power) => sum + power, 0);
    return powers.map((power) => power / total);
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
    this.restart();
  }

  restart() {
    const { steps } = this.facts.contract;
    this.state = Object.fromEntries(Object.entries(this.facts.state).map(([key, shape]) => [key, zeros([1, ...shape])]));
    this.readout = new Readout(steps);
    this.step = 0;
  }

  /** One step: x Float32Array [C, H, W]; {logits, probabilities, label, step}. */
  async run(x, reset = false) {
    if (reset) this.restart();
    const { channels, height, width } = this.facts.contract;
    const feeds = { x: new ort.Tensor("float32", x, [1, channels, height, width]) };
    for (const [key, tensor] of Object.entries(this.state)) feeds[`state.${key}`] = tensor;
    const results = await this.session.run(feeds);
    for (const key of Object.keys(this.state)) this.state[key] = results[`after.${key}`];
    const logits = Array.from(results.logits.data);
    this.readout.push(logits);
    const probabilities = this.readout.probabilities();
    const index = probabilities.indexOf(Math.max(...probabilities));
    return { logits, probabilities, index, label: this.facts.labels[index], step: ++this.step };
  }
}

function zeros(shape) {
  return new ort.Tensor("float32", new Float32Array(shape.reduce((product, side) => product * side, 1)), shape);
}
