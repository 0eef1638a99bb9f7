// The folder's networks: facts from model.json, and the WebAssembly engine that steps them, holds their membranes and reads them out.

import { Part, startEngine } from "./events.js";

async function read(name) {
  const answered = await fetch(name).catch(() => null);
  if (!answered?.ok) throw new Error(`the folder lacks ${name}`);
  return answered;
}

export const bytes = async (name) => (await read(name)).arrayBuffer();
const unpacked = async (name) => new Response((await read(name)).body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();

/** Load {facts: model.json, pixels: parameters of an Emulator}. */
export async function loadFacts() {
  const facts = await (await read("model.json")).json();
  const values = new Float32Array(await bytes("pixels.f32")), size = facts.pixels.width * facts.pixels.height; // little-endian, as every browser's
  const [on, off, start] = [0, 1, 2].map((part) => values.subarray(part * size, (part + 1) * size));
  return { facts, pixels: { ...facts.pixels, levels: Float32Array.from(facts.pixels.levels), on, off, start } };
}

/** Load {whole: the network for all of what is seen, view: the one that looks all over a view, or null}. */
export async function loadNetworks(facts) {
  const [code, whole, view] = await Promise.all([bytes("engine.wasm"), unpacked("model.bin"), facts.view && unpacked("view.bin")]);
  const engine = await startEngine(code), { size } = facts.engine, at = engine.memory_for(size + (view ? facts.view.engine.size : 0));
  const looks = view ? new View(facts, new Block(engine, at + size, facts.view.engine, view)) : null;
  return { whole: new Network(facts, new Block(engine, at, facts.engine, whole)), view: looks };
}

/** A network as one block of the engine's memory; a view's lies behind that of the network for all, whose weights it has. */
class Block {
  /** places: "engine" of model.json; content: the file, unpacked. */
  constructor(engine, at, places, content) {
    Object.assign(this, { engine, places, at });
    const memory = new Uint8Array(engine.memory.buffer, at, places.size);
    memory.fill(0);
    memory.set(new Uint8Array(content));
    engine.open(this.at);
  }

  /** Where something lies in the engine's memory; 0 for what there is not. */
  place(name) {
    return this.places[name] ? this.at + this.places[name][0] : 0;
  }

  /** A view of a step's input or output in the engine's memory; valid until the memory grows. */
  view(Numbers, name) {
    return new Numbers(this.engine.memory.buffer, this.place(name), this.places[name][1]);
  }

  notes(probe) {
    this.view(Uint8Array, "probed")[0] = probe ? 1 : 0;
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

export class Network extends Part {
  constructor({ labels, contract }, block) {
    const { engine } = block, parts = ["sizes", "rules", "whiten", "placed", "lines", "taught", "head", "head_bias"];
    super(engine.network_open(block.at, ...parts.map((name) => block.place(name))));
    Object.assign(this, { engine, block, labels: [...labels, "unknown", "nothing"], contract, tells: block.place("whiten") > 0 });
    this.probe = false; // whether answers tell which neurons fired
    this.begin();
  }

  begin() {
    this.engine.network_begin(this.at);
  }

  /** Run one step on x, Uint8Array [C, H, W]; return {logits, probabilities, index, stepLabel, in_distribution, label, inside, step, reset}. */
  run(x, reset = false) {
    const { engine, block, labels } = this, classes = labels.length - 2;
    block.notes(this.probe);
    block.view(Uint8Array, "x").set(x);
    const done = engine.network_step(this.at, x.length, reset);
    if (done < 0) throw new Error("there is no memory for a step");
    const [score, index, stepLabel, label, step] = this.view(Float64Array, 0, 5);
    const [probabilities, logits] = [this.view(Float64Array, 1, classes), this.view(Float32Array, 2, classes)].map((values) => Array.from(values));
    const said = { in_distribution: this.tells ? Math.max(score, 0) : null, index, stepLabel: labels[stepLabel], label: labels[label] ?? "" };
    return { logits, probabilities, ...said, inside: this.probe && block.inside(x, this.contract), step, reset: done > 0 };
  }
}

/** A network that looks all over a view, and what finds objects in its answers. */
class View extends Part {
  constructor({ labels, view: { contract } }, block) {
    const { engine } = block, parts = ["sizes", "places", "levels"];
    super(engine.view_open(block.at, ...parts.map((name) => block.place(name)), block.places.levels[1] / 5));
    Object.assign(this, { engine, block, labels: [...labels, "unknown", "nothing"], contract, probe: false });
    this.begin();
  }

  begin() {
    this.step = 0;
  }

  /** Run one step on x, the finest level's bin; return what a Network does, and the `objects` found. */
  run(x, reset = false) {
    const { engine, block, labels } = this, classes = labels.length - 2, at = 6 + 2 * classes;
    this.step = reset ? 1 : this.step + 1;
    block.notes(this.probe);
    this.view(Uint8Array, 1, x.length).set(x);
    if (engine.view_step(this.at, this.step === 1)) throw new Error("there is no memory for a step");
    const [in_distribution, index, stepLabel, label, , count] = this.view(Float64Array, 0, 6), told = Array.from(this.view(Float64Array, 0, at + 8 * count));
    const objects = Array.from({ length: count }, (_, n) => told.slice(at + 8 * n, at + 8 * n + 8)).map(([id, own, confidence, score, ...box]) => ({ id, label: labels[own], confidence, in_distribution: score, box }));
    const said = { in_distribution, index, stepLabel: labels[stepLabel], label: labels[label], probabilities: told.slice(6, 6 + classes), logits: told.slice(6 + classes, at) };
    return { ...said, objects, inside: this.probe && block.inside(x, this.contract), step: this.step, reset };
  }
}
