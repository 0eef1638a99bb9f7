// All words for models and their answers; and the answer: one headline, and behind "why?" a sentence and a bar for each class.

import { element, write } from "./dom.js";

// What a model is for is derived from its labels.
const TASKS = [
  {
    fits: (labels) => labels.join("") === "0123456789",
    title: "digits", unknown: "no digit here", nothing: "nothing to see",
    hint: "Take paper and a thick pen, write a digit, and sway it a little before the camera.",
  },
  {
    fits: (labels) => labels.includes("left") && labels.includes("right"),
    title: "motions", unknown: "no motion it knows", nothing: "nothing moves",
    hint: "Move your hand: left, right, up, down, around, towards the camera, away from it.",
  },
  {
    fits: () => true,
    title: "", unknown: "nothing it knows", nothing: "nothing to see",
    hint: "Hold what it has learnt before the camera, and move it a little.",
  },
];

const SHOWN = 10;
const SPEAK_EVERY_MS = 2000;
const SURE = 0.5; // least probability of a class that is the headline alone

export const percent = (p) => `${Math.round(100 * p)} %`;

/** In an answer of the service: classes that it does not rule out, null where it cannot tell; labels of all objects that it finds. */
export const foundIn = ({ commitment, objects }) => ({ possible: commitment?.set ?? null, objects: objects?.map(({ label }) => label) });

/** The likeliest classes, among those that are possible if there are two. */
function leaders({ labels, probabilities, possible }) {
  const among = possible?.length > 1 ? possible : labels;
  return [...among].sort((a, b) => probabilities[labels.indexOf(b)] - probabilities[labels.indexOf(a)]);
}

/** What is seen, in words: "3", "3 and 7", "not sure: 3 or 8", "no digit here"; "–" before there is evidence.
 * label: a class, "unknown", "nothing" or "". possible: classes that are not ruled out. objects: labels of all in view. */
export function headline({ labels, label, probabilities = [], possible = null, objects = [] }) {
  if (objects.length > 1) return `${objects.slice(0, -1).join(", ")} and ${objects.at(-1)}`;
  if (!labels.includes(label)) return label ? taskOf(labels)[label] ?? label : "–";
  const sure = (probabilities[labels.indexOf(label)] ?? 1) >= SURE;
  return sure ? label : `not sure: ${leaders({ labels, probabilities, possible }).slice(0, 2).join(" or ")}`;
}

const SLOW = "Frames come faster than it answers them. It has less to do while other programs rest, or when it looks for one object alone (settings).";

/** The title of the pane that shows the evidence: of several objects, for the leading one. */
export const evidenceTitle = ({ label, objects }) => (objects?.length > 1 ? `Evidence: ${label}, the leading object` : "Evidence");

/** Why that is the headline, in a sentence. */
function reason({ labels, label, probabilities, possible = null, objects = [] }) {
  if (objects.length > 1) return "Each of them has a box, and is judged alone.";
  if (label === "nothing") return "Hardly anything changes, and an event camera sees change alone.";
  if (label === "unknown") return "Something is there, but it is unlike all that this model has learnt.";
  const [first, second] = leaders({ labels, probabilities, possible });
  const p = (label) => percent(probabilities[labels.indexOf(label)]);
  return `All evidence so far makes ${first} ${p(first)} likely${second ? `; next comes ${second} with ${p(second)}` : ""}.`;
}

/** {title, hint, unknown, nothing}: the words for a model with these labels. */
export const taskOf = (labels) => TASKS.find(({ fits }) => fits(labels ?? []));

/** "nmnist: digits from events": the name of an entry of GET /v1/models, and its task if that is known. */
export function titleOf({ name, labels, contract }) {
  const { title } = taskOf(labels);
  return title ? `${name}: ${title} from ${contract.kind === "events" ? "events" : "pictures"}` : name;
}

/** Tells screen readers words when they change, at most every two seconds. */
export class Speaker {
  constructor(line) {
    Object.assign(this, { line, spoken: "", nextMs: 0 });
  }

  say(words, nowMs) {
    if (!words || words === this.spoken || nowMs < this.nextMs) return;
    this.line.textContent = this.spoken = words;
    this.nextMs = nowMs + SPEAK_EVERY_MS;
  }
}

export class Answer {
  /** root: the pane, with an output, a line on its age, and what is behind "why?". */
  constructor(root) {
    const [label, age, evidence, classes, line] = ["output", ".age", ".evidence", ".classes", "[role=status]"].map((one) => root.querySelector(one));
    Object.assign(this, { root, label, age, evidence, classes, speaker: new Speaker(line) });
  }

  setLabels(labels) {
    this.labels = labels;
    this.rows = labels.slice(0, SHOWN).map(() => {
      const name = element("span"), meter = element("meter"), value = element("span");
      return { row: element("li", "", name, meter, value), name, meter, value };
    });
    this.classes.replaceChildren(...this.rows.map(({ row }) => row));
    this.clear();
  }

  clear() {
    this.fade("");
    this.write("–", "");
    this.bars(this.labels?.map(() => 0) ?? [], -1);
    this.speaker.spoken = "";
  }

  write(words, evidence) {
    write(this.label, words);
    this.label.classList.toggle("long", words.length > 7);
    write(this.evidence, evidence);
  }

  /** With more classes than rows show the most likely ones, best first; else the order never changes. */
  bars(probabilities, best, possible = null) {
    if (!this.rows) return;
    const order = probabilities.map((_, k) => k);
    if (order.length > SHOWN) order.sort((a, b) => probabilities[b] - probabilities[a]);
    this.rows.forEach(({ row, name, meter, value }, i) => {
      const k = order[i], p = probabilities[k] ?? 0;
      if (name.textContent !== this.labels[k]) name.textContent = meter.ariaLabel = this.labels[k];
      meter.value = p;
      value.textContent = percent(p);
      row.classList.toggle("best", k === best);
      row.classList.toggle("out", Boolean(possible) && !possible.includes(this.labels[k]));
    });
  }

  /** seen: as `headline` takes it, without labels. slow: why it is too old to be the headline, if it is. */
  show(seen, nowMs, slow = "") {
    const all = { labels: this.labels, ...seen }, best = this.labels.indexOf(seen.label), words = headline(all);
    const several = seen.objects?.length > 1;
    this.write(slow || words, slow ? SLOW : seen.label ? reason(all) : "");
    this.fade(slow && `${words}, a while ago`);
    this.root.classList.toggle("unlabelled", best < 0 && !several);
    this.root.classList.toggle("barless", best < 0 || several);
    this.bars(seen.probabilities, best, seen.possible);
    if (seen.label) this.speaker.say(`Prediction: ${slow || words}`, nowMs);
  }

  /** Mark an answer as old, with these words; "": it is new. */
  fade(words) {
    this.root.classList.toggle("stale", Boolean(words));
    write(this.age, words);
  }
}
