// What the network says: the large steady label, a bar a class, and the words for screen readers.

const SHOWN = 10;
const SPEAK_EVERY_MS = 2000;
const NO_CLASS = { unknown: "like nothing it knows", nothing: "nothing to see" };

export const percent = (p) => `${Math.round(100 * p)} %`;

export class Answer {
  constructor({ label, confidence, classes, live }) {
    Object.assign(this, { label, confidence, classes, live });
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
    this.write("–", "");
    this.bars(this.labels?.map(() => 0) ?? [], -1);
    this.spoken = "";
  }

  write(label, confidence) {
    if (this.label.textContent !== label) this.label.textContent = label;
    this.label.classList.toggle("long", label.length > 7);
    this.confidence.textContent = confidence;
  }

  /** With more classes than rows the most likely ones are shown, best first; else the order never changes. */
  bars(probabilities, best) {
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
    });
  }

  /** steady: a class; "unknown" or "nothing", which show no label but say so; or "" before there is evidence. */
  show(probabilities, steady, nowMs) {
    const best = this.labels.indexOf(steady);
    if (best < 0) this.write("–", NO_CLASS[steady] ?? "");
    else this.write(steady, percent(probabilities[best]));
    this.bars(probabilities, best);
    this.speak(NO_CLASS[steady] ?? steady, nowMs);
  }

  speak(label, nowMs) {
    if (!label || label === this.spoken || nowMs - this.spokenMs < SPEAK_EVERY_MS) return;
    this.spoken = label;
    this.spokenMs = nowMs;
    this.live.textContent = `Prediction: ${label}`;
  }
}
