// The network's answer: the large steady label, a bar for each class, and text for screen readers.

import { inWords } from "./tasks.js";

const SHOWN = 10;
const SPEAK_EVERY_MS = 2000;

export const percent = (p) => `${Math.round(100 * p)} %`;

export class Answer {
  /** root: the element around all of them; age: the element that marks an old answer. */
  constructor({ root, age, label, confidence, classes, live }) {
    Object.assign(this, { root, age, label, confidence, classes, live });
    this.spoken = "";
    this.spokenMs = -Infinity;
  }

  setLabels(labels) {
    this.labels = labels;
    this.rows = labels.slice(0, SHOWN).map(() => {
      const row = document.createElement("li");
      const name = document.createElement("span"), meter = document.createElement("meter"), value = document.createElement("span");
      meter.min = 0;
      meter.max = 1;
      row.append(name, meter, value);
      return { row, name, meter, value };
    });
    this.classes.replaceChildren(...this.rows.map(({ row }) => row));
    this.clear();
  }

  clear() {
    this.fade(false);
    this.write("–", "");
    this.bars(this.labels?.map(() => 0) ?? [], -1);
    this.spoken = "";
  }

  write(label, confidence) {
    if (this.label.textContent !== label) this.label.textContent = label;
    this.label.classList.toggle("long", label.length > 7);
    this.confidence.textContent = confidence;
  }

  /** With more classes than rows show the most likely ones, best first; else the order never changes. */
  bars(probabilities, best, possible = null) {
    if (!this.rows) return;
    const order = probabilities.map((_, k) => k);
    if (order.length > SHOWN) order.sort((a, b) => probabilities[b] - probabilities[a]);
    this.rows.forEach(({ row, name, meter, value }, i) => {
      const k = order[i];
      const p = probabilities[k] ?? 0;
      if (name.textContent !== this.labels[k]) {
        name.textContent = this.labels[k];
        meter.setAttribute("aria-label", this.labels[k]);
      }
      meter.value = p;
      value.textContent = percent(p);
      row.classList.toggle("best", k === best);
      row.classList.toggle("out", Boolean(possible) && !possible.includes(this.labels[k]));
    });
  }

  /** steady: a class; "unknown" or "nothing", which are words and no class; or "" before there is evidence. possible: the
      classes that are not ruled out; null where nobody can tell. things: labels of all that is in view, if known. */
  show(probabilities, steady, nowMs, possible = null, things = []) {
    const best = this.labels.indexOf(steady), several = things.length > 1;
    const words = several ? `${things.length} things` : inWords(steady, this.labels);
    this.write(words, several ? things.join(", ") : best < 0 ? "" : percent(probabilities[best]));
    this.root.classList.toggle("unlabelled", best < 0);
    this.bars(probabilities, best, possible);
    if (steady) this.speak(words, nowMs);
  }

  /** Mark an answer as old if no other came for long. */
  fade(on) {
    this.root.classList.toggle("stale", on);
    this.age.textContent = on ? "from before: nothing new has come" : "";
  }

  speak(label, nowMs) {
    if (label === this.spoken || nowMs - this.spokenMs < SPEAK_EVERY_MS) return;
    this.spoken = label;
    this.spokenMs = nowMs;
    this.live.textContent = `Prediction: ${label}`;
  }
}
