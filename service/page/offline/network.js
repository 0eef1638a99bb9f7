// The folder's networks: facts from model.json, the WebAssembly engine that steps them and holds their membranes, and the
// read-out of one thing.

import { Known, softmax, Steady } from "./novelty.js";
import { Head } from "./taught.js";
import { View } from "./view.js";

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

/** Load {whole: the network for all of what is seen, view: the one that looks all over a view, or null}. */
export async function loadNetworks(facts) {
  const names = ["engine.wasm", "model.bin", ...(facts.view ? ["view.bin"] : [])], [code, whole, view] = await Promise.all(names.map(bytes));
  const { exports: engine } = (await WebAssembly.instantiate(code)).instance;
  engine._initialize();
  return { whole: new Network(facts, new Block(engine, facts.engine, whole)), view: view ? new View(facts, new Block(engine, facts.view.engine, view)) : null };
}

/** A network as one block of the engine's memory. */
class Block {
  /** places: "engine" of model.json; content: the file. */
  constructor(engine, places, content) {
    Object.assign(this, { engine, places, at: engine.memory_for(places.size) });
    const memory = new Uint8Array(engine.memory.buffer, this.at, places.size);
    memory.fill(0);
    memory.set(new Uint8Array(content));
    engine.open(this.at);
  }

  /** A view of a step's input or output in the engine's memory; valid until the memory grows. */
  view(Numbers, name) {
    const [place, length] = this.places[name];
    return new Numbers(this.engine.memory.buffer, this.at + place, length);
  }

  restart() {
    this.view(Float32Array, "state").fill(0);
  }

  /** Run one step on x, Uint8Array [C, H, W]; probe: whether to note which neurons fire. */
  step(x, probe) {
    this.view(Uint8Array, "x").set(x);
    this.view(Uint8Array, "probed")[0] = probe ? 1 : 0;
    if (this.engine.step(this.at)) throw new Error("there is no memory for a step");
    const [logits, rates] = ["logits", "rates"].map((name) => Array.from(this.view(Float32Array, name)));
    return { logits, rates };
  }

  /** The activity in the last step, like `inside` in the service's answers; x [C, H, W] is shown as the input. */
  inside(x, { width, height }) {
    const sums = new Float32Array(width * height);
    x.forEach((value, at) => (sums[at % sums.length] += value));
    const least = sums.reduce((a, b) => Math.min(a, b)), most = sums.reduce((a, b) => Math.max(a, b));
    const input = Uint8Array.from(sums, (value) => ((value - least) * 255) / Math.max(most - least, 1e-9));
    return { input, fired: this.view(Uint8Array, "fired").slice() };
  }
}

export class Network {
  /** facts: model.json. */
  constructor(facts, block) {
    Object.assign(this, { facts, block });
    this.head = facts.taught && new Head(facts, (name) => block.view(Float32Array, name).slice());
    this.known = facts.known && new Known(facts.known);
    this.horizon = facts.contract.readout || facts.contract.steps;
    this.probe = false; // whether answers tell which neurons fired
    this.begin();
  }

  /** Start on another source. */
  begin() {
    this.steady = new Steady(this.facts.labels, this.facts.steady);
    this.quiet = 0;
    this.restart();
  }

  restart() {
    this.block.restart();
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
    const made = this.block.step(x, this.probe), { logits, rates } = this.head?.step(made.rates, x) ?? made;
    this.readout.push(this.known ? [...logits, ...rates, active] : logits);
    const judged = this.judge(logits.length);
    const index = judged.probabilities.indexOf(Math.max(...judged.probabilities));
    const label = judged.nothing ? "nothing" : judged.known !== null && judged.known < this.facts.steady.kept ? "unknown" : this.facts.labels[index];
    return { logits, ...judged, index, label, steady: this.steady.push(judged), inside: this.probe && this.block.inside(x, this.facts.contract), step: ++this.step, reset: fresh };
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
