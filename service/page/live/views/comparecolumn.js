// One model's column of the comparison: the answer, its history step by step, and the cost.

import { headline, percent } from "../../shared/answer.js";
import { element, write } from "../../shared/dom.js";
import { short } from "./meters.js";

const ORIGINS = { direct: "Direct SNN", converted: "Converted SNN", ann: "ANN" };
const BARS = 36; // steps of a stream that are shown
const WORDED = 10; // so few bars have room for their label

export function originOf({ origin, contract }) {
  return origin === "direct" && contract.kind === "events" ? "Direct SNN, events" : ORIGINS[origin];
}

export class Column {
  /** model: an entry of GET /v1/models. */
  constructor(model) {
    this.model = model;
    this.late = () => ""; // why the answer at a time is too old to be the present one, or ""; set by what asks for answers
    const head = element("header", "", element("h3", "", originOf(model)), element("p", "note", model.name));
    this.label = element("strong", "", "–");
    this.words = element("p", "words");
    this.bars = element("div", { className: "bars", role: "img" });
    this.cost = element("i");
    this.values = {};
    const facts = Object.entries({ when: "Step", spikes: "Spikes", synops: model.origin === "ann" ? "Multiply-adds" : "Operations", share: "Of the ANN", took: "Time" }).map(([key, title]) => {
      this.values[key] = element("dd");
      return element("div", "", element("dt", "", title), this.values[key]);
    });
    const parts = [head, element("p", "label", this.label), this.words, this.bars, element("div", "cost", this.cost), element("dl", "", ...facts)];
    this.root = element("section", { className: "pane column", ariaLabel: `${originOf(model)}: ${model.name}`, data: { origin: model.origin } }, ...parts);
    this.clear();
  }

  clear() {
    this.steps = []; // {label, confidence, spikes, synops} of each step
    Object.assign(this, { streaming: false, slow: "" });
    this.took = this.objects = this.stepMacs = null; // stepMacs: what an ANN would do a step of a stream
    this.say("…");
  }

  say(text) {
    this.text = text;
  }

  /** Show the answer to an image or a recording, with all its steps; with objects, of more than the model's ANN would see. */
  result({ steps, latency_ms: ms, objects }) {
    Object.assign(this, { steps, streaming: false, text: "", took: `${ms.toFixed(1)} ms`, viewed: Boolean(objects) });
  }

  /** Show one step of a stream; `label` is the label that does not flicker. */
  step(message) {
    Object.assign(this, { streaming: true, text: "", took: `${message.step_ms.toFixed(1)} ms a step`, objects: message.objects, number: message.step });
    const confidence = message.probabilities[this.model.labels.indexOf(message.label)] ?? message.confidence;
    this.steps = [...(message.reset ? [] : this.steps), { ...message, label: message.label, confidence }].slice(-BARS);
  }

  get ready() {
    return !this.text && this.steps.length > 0;
  }

  /** {label, confidence, spikes, synops} after `at` steps: sums so far, or for a stream those of the last step. */
  after(at) {
    if (!this.ready) return null;
    const count = this.streaming ? this.steps.length : Math.min(at, this.steps.length);
    const last = this.steps[count - 1];
    if (this.streaming) return { ...last, count };
    const sum = (key) => this.steps.slice(0, count).reduce((total, step) => total + step[key], 0);
    return { ...last, spikes: sum("spikes"), synops: sum("synops"), count };
  }

  said(now) {
    return headline({ labels: this.model.labels, label: now?.label, probabilities: now?.probabilities });
  }

  /** base: multiply-adds of the ANN beside it, null for an ANN of the same shape; most: the largest of all columns, for the bar. At nowMs. */
  draw(at, base, most, nowMs) {
    const now = this.after(at), said = this.said(now);
    this.slow = now ? this.late(nowMs) : "";
    this.root.classList.toggle("silent", !now);
    this.root.classList.toggle("stale", Boolean(this.slow));
    write(this.words, now ? this.slow && `a while ago; ${this.slow}` : this.text);
    write(this.label, said);
    this.label.classList.toggle("long", said.length > 7);
    this.drawBars(now);
    this.cost.style.width = now ? `${Math.min(100, (100 * now.synops) / most)}%` : "0";
    if (!now) return;
    const ann = this.model.origin === "ann", total = this.steps.length;
    write(this.values.when, this.streaming ? String(this.number) : total === 1 ? "1 pass" : `${now.count} of ${total}`);
    write(this.values.spikes, ann ? "none" : short(now.spikes));
    write(this.values.synops, short(now.synops));
    write(this.values.share.previousSibling, base ? "Of the ANN" : "Of an ANN");
    const own = this.streaming ? this.stepMacs : this.model.ann_macs * (this.model.contract.kind === "events" ? now.count : 1);
    this.values.share.parentElement.hidden = this.viewed && !this.streaming;
    write(this.values.share, percent(now.synops / (base ?? own)));
    write(this.values.took, this.took);
  }

  /** Draw a bar for each step, as high as the confidence, in full tone where the label was that of the last step. */
  drawBars(now) {
    const shown = now ? this.steps : [];
    this.bars.replaceChildren(...shown.map(({ label, confidence }, i) => {
      const later = i >= now.count, short = label.length < 3 ? label : "?"; // unknown yet
      const bar = element("i", { className: later ? "later" : label === now.label ? "same" : "other", data: { label: later ? "" : short } });
      bar.style.height = `${Math.max(4, 100 * confidence)}%`;
      return bar;
    }));
    this.bars.classList.toggle("labelled", shown.length <= WORDED && this.model.labels.every((label) => label.length < 3));
    this.bars.ariaLabel = now ? `${shown.length} ${shown.length === 1 ? "step" : "steps"}; now ${this.said(now)}` : "no answer yet";
  }
}
