// models/novelty.py, and the steady label of models/steps.py, for the page without a server: how familiar a window is,
// and which label to show.

const FAR = 60; // of a logistic's exponent

export function softmax(logits, temperature = 1) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp((value - most) / temperature));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

/** Map features to the space in which Euclidean distances are Mahalanobis distances. */
function place(whiten, features) {
  return whiten.map((row) => row.reduce((sum, weight, at) => sum + weight * features[at], 0));
}

export class Known {
  /** facts: "known" of model.json. */
  constructor({ kinds: [{ centres, whiten, lines }], slope }) {
    Object.assign(this, { whiten, lines, slope, placed: centres.map((centre) => place(whiten, centre)) });
  }

  get activeInputs() {
    return this.lines.active.at(-1);
  }

  /** Judge a window by mean logits, rates and active inputs a step; return {probabilities, known, nothing}. */
  judge(logits, rates, active, steps) {
    const { whiten, placed, lines } = this;
    const line = Object.fromEntries(Object.entries(lines).map(([name, values]) => [name, values[Math.min(steps, values.length) - 1]]));
    const probabilities = softmax(logits, line.temperature);
    if (active < line.active) return { probabilities, known: 0, nothing: true };
    const at = place(whiten, rates.map(Math.sqrt));
    const far = Math.min(...placed.map((centre) => centre.reduce((sum, value, i) => sum + (at[i] - value) ** 2, 0)));
    const most = Math.max(...logits);
    const cold = -most - Math.log(logits.reduce((sum, value) => sum + Math.exp(value - most), 0));
    const strange = (Math.log(Math.max(far, 1e-12)) - line.distance_mean) / line.distance_spread + (cold - line.energy_mean) / line.energy_spread;
    const exponent = (this.slope * (strange - line.kept)) / (line.kept - line.shown);
    return { probabilities, known: 1 / (1 + Math.exp(Math.min(Math.max(exponent, -FAR), FAR))), nothing: false };
  }
}

/** The label to show, which changes only with enough evidence; see Steady in models/steps.py. */
export class Steady {
  /** labels: the classes; rules: "steady" of model.json. */
  constructor(labels, rules) {
    this.labels = [...labels, "unknown", "nothing"];
    this.rules = rules;
    this.index = -1;
    this.restart();
  }

  /** Reset the evidence, keeping the label that is shown. */
  restart() {
    this.evidence = this.labels.map(() => 0);
  }

  push({ probabilities, known, nothing }) {
    const { first, other, least, lull, margin, inertia } = this.rules;
    const sure = known ?? 1;
    const shares = nothing ? this.labels.map((_, k) => Number(k === this.labels.length - 1)) : [...probabilities.map((p) => p * sure), 1 - sure, 0];
    const label = this.index < this.labels.length - 1 ? this.index : -1; // nothing is none
    const [most, second] = [...shares].sort((a, b) => b - a);
    this.evidence = this.evidence.map((before, k) => {
      const rival = label >= 0 ? shares[label] : shares[k] === most ? second : most;
      let gained = Math.log(Math.max(shares[k], least) / Math.max(rival, least)) / inertia;
      if (k === this.index || (gained > 0 && shares[k] - rival <= margin)) gained = 0;
      if (gained > 0 && k === this.labels.length - 1) gained *= lull;
      return Math.max(before + gained, 0);
    });
    const best = this.evidence.indexOf(Math.max(...this.evidence));
    if (this.evidence[best] >= (label < 0 ? first : other)) {
      this.index = best;
      this.restart();
    }
    return this.index < 0 ? "" : this.labels[this.index];
  }
}
