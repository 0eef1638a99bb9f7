// The network's answer: one headline in words; behind "why?" its evidence in a sentence, and a bar for each class.

import { taskOf } from "./tasks.js";

const SHOWN = 10;
const SPEAK_EVERY_MS = 2000;
const SURE = 0.5; // least probability of a class that is the headline alone

export const percent = (p) => `${Math.round(100 * p)} %`;

/** The classes that an answer of the service does not rule out; null where it cannot tell. */
export const possibleIn = ({ set }) => set ?? null;

/** The likeliest classes, among those that are possible if there are two. */
function leaders({ labels, probabilities, possible }) {
  const among = possible?.length > 1 ? possible : labels;
  return [...among].sort((a, b) => probabilities[labels.indexOf(b)] - probabilities[labels.indexOf(a)]);
}

/**
 * What is seen, in words: "3", "3 and 7", "not sure: 3 or 8", "no digit here"; "–" before there is evidence.
 * steady: a class, "unknown", "nothing" or "". possible: classes that are not ruled out. things: labels of all in view.
 */
export function headline({ labels, steady, probabilities = [], possible = null, things = [] }) {
  if (things.length > 1) return `${things.slice(0, -1).join(", ")} and ${things.at(-1)}`;
  if (!labels.includes(steady)) return steady ? taskOf(labels)[steady] ?? steady : "–";
  const sure = (probabilities[labels.indexOf(steady)] ?? 1) >= SURE;
  return sure ? steady : `not sure: ${leaders({ labels, probabilities, possible }).slice(0, 2).join(" or ")}`;
}

/** Why that is the headline, in a sentence. */
function reason({ labels, steady, probabilities, possible = null, things = [] }) {
  if (things.length > 1) return "Each of them has a box, and is judged alone.";
  if (steady === "nothing") return "Hardly anything changes, and an event camera sees change alone.";
  if (steady === "unknown") return "Something moves, but it is unlike all that this model has learnt.";
  const [first, second] = leaders({ labels, probabilities, possible });
  const p = (label) => percent(probabilities[labels.indexOf(label)]);
  return `All evidence so far makes ${first} ${p(first)} likely${second ? `; next comes ${second} with ${p(second)}` : ""}.`;
}

export class Answer {
  /** root: the pane, with an output, a line on its age, and what is behind "why?". */
  constructor(root) {
    const [label, age, evidence, classes, live] = ["output", ".age", ".evidence", ".classes", "[role=status]"].map((one) => root.querySelector(one));
    Object.assign(this, { root, label, age, evidence, classes, live });
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
    this.fade("");
    this.write("–", "");
    this.bars(this.labels?.map(() => 0) ?? [], -1);
    this.spoken = "";
  }

  write(words, evidence) {
    if (this.label.textContent !== words) this.label.textContent = words;
    this.label.classList.toggle("long", words.length > 7);
    if (this.evidence.textContent !== evidence) this.evidence.textContent = evidence;
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

  /** seen: as `headline` takes it, without labels. slow: why it is too old to be the headline, if it is. */
  show(seen, nowMs, slow = "") {
    const all = { labels: this.labels, ...seen }, best = this.labels.indexOf(seen.steady), words = headline(all);
    const several = seen.things?.length > 1;
    this.write(slow || words, seen.steady ? reason(all) : "");
    this.fade(slow && `${words}, a while ago`);
    this.root.classList.toggle("unlabelled", best < 0 && !several);
    this.root.classList.toggle("barless", best < 0 || several);
    this.bars(seen.probabilities, best, seen.possible);
    if (seen.steady) this.speak(slow || words, nowMs);
  }

  /** Mark an answer as old, with these words; "": it is new. */
  fade(words) {
    this.root.classList.toggle("stale", Boolean(words));
    if (this.age.textContent !== words) this.age.textContent = words;
  }

  speak(words, nowMs) {
    if (words === this.spoken || nowMs - this.spokenMs < SPEAK_EVERY_MS) return;
    this.spoken = words;
    this.spokenMs = nowMs;
    this.live.textContent = `Prediction: ${words}`;
  }
}
