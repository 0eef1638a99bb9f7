// The folder's network: facts from model.json, the WebAssembly engine that steps it and holds its membranes, and the
// read-out.

import { Known, softmax, Steady } from "./novelty.js";
import { Head } from "./taught.js";

async function read(name) {
  const answered = await fetch(name);
  if (!answered.ok) throw new Error(`the folder lacks ${name}`);
  return answered;
}

async function bytes(name) {
  return (await read(name)).arrayBuffer();
}

/** Load {facts: model.json, pixels: parameters of an Emulator}. */
export async function loadFacts() {
  const facts = await (await read("model.json")).json();
  const values = new Float32Array(await bytes("pixels.f32")), size = facts.pixels.width * facts.pixels.height; // little-endian, as every browser's
  const [on, off, start] = [0, 1, 2].map((part) => values.subarray(part * size, (part + 1) * size));
  return { facts, pixels: { ...facts.pixels, levels: Float32Array.from(facts.pixels.levels), on, off, start } };
}

/** The mean over the last `steps` steps: Readout in models/steps.py. */
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
  /** facts: model.json. */
  static async load(facts) {
    const [{ instance }, block] = await Promise.all([WebAssembly.instantiate(await bytes("engine.wasm")), bytes("model.bin")]);
    return new Network(facts, instance.exports, block);
  }

  constructor(facts, engine, block) {
    Object.assign(this, { facts, engine });
    engine._initialize();
    this.at = engine.memory_for(facts.engine.size);
    const memory = new Uint8Array(engine.memory.buffer, this.at, facts.engine.size);
    memory.fill(0);
    memory.set(new Uint8Array(block));
    engine.open(this.at);
    this.head = facts.taught && new Head(facts, (name) => this.view(Float32Array, name).slice());
    this.known = facts.known && new Known(facts.known);
    this.horizon = facts.contract.readout || facts.contract.steps;
    this.probe = false; // whether answers tell which neurons fired
    this.begin();
  }

  /** A view of a step's input or output in the engine's memory; valid until the memory grows. */
  view(Numbers, name) {
    const [place, length] = this.facts.engine[name];
    return new Numbers(this.engine.memory.buffer, this.at + place, length);
  }

  /** Start on another source. */
  begin() {
    this.steady = new Steady(this.facts.labels, this.facts.steady);
    this.quiet = 0;
    this.restart();
  }

  restart() {
    this.view(Float32Array, "state").fill(0);
    this.head?.restart();
    this.readout = new Readout(this.horizon);
    this.steady.restart();
    this.step = 0;
  }

  /** Run one step on x, Uint8Array [C, H, W]; return {logits, probabilities, index, label, known, steady, inside, step, reset}. */
  run(x, reset = false) {
    const active = x.reduce((count, value) => count + (value !== 0), 0);
    const fresh = this.woken(active) || reset;
    if (fresh) this.restart();
    this.view(Uint8Array, "x").set(x);
    this.view(Uint8Array, "probed")[0] = this.probe ? 1 : 0;
    if (this.engine.step(this.at)) throw new Error("there is no memory for a step");
    const [own, noted] = ["logits", "rates"].map((name) => Array.from(this.view(Float32Array, name)));
    const { logits, rates } = this.head ? this.head.step(noted, x) : { logits: own, rates: noted };
    this.readout.push(this.known ? [...logits, ...rates, active] : logits);
    const judged = this.judge(logits.length);
    const index = judged.probabilities.indexOf(Math.max(...judged.probabilities));
    const label = judged.nothing ? "nothing" : judged.known !== null && judged.known < this.facts.steady.kept ? "unknown" : this.facts.labels[index];
    return { logits, ...judged, index, label, steady: this.steady.push(judged), inside: this.probe && this.inside(x), step: ++this.step, reset: fresh };
  }

  /** The network's activity in the last step, like `inside` in the service's answers. */
  inside(x) {
    const { width, height } = this.facts.contract, sums = new Float32Array(width * height);
    x.forEach((value, at) => (sums[at % sums.length] += value));
    const least = Math.min(...sums), most = Math.max(...sums);
    const input = Uint8Array.from(sums, (value) => ((value - least) * 255) / Math.max(most - least, 1e-9));
    return { input, fired: this.view(Uint8Array, "fired").slice() };
  }

  /** Whether this step is the first after a long silence: membranes are reset then. */
  woken(active) {
    if (!this.known) return false;
    const asleep = this.quiet >= this.facts.contract.steps;
    this.quiet = active < this.known.activeInputs ? this.quiet + 1 : 0;
    return asleep && !this.quiet;
  }

  judge(classes) {
    const { mean } = this.readout;
    if (!this.known) return { probabilities: softmax(mean), known: null, nothing: false };
    return this.known.judge(mean.slice(0, classes), mean.slice(classes, -1), mean.at(-1), this.readout.recent.length);
  }
}
