// What a stream commits itself to: how many classes are left, and how long after a window's begin one was.

export class Promised {
  constructor(line) {
    this.line = line;
    this.clear();
  }

  /** steps: of a window; the next one begins where it ends. */
  begin(steps) {
    this.steps = steps;
    this.clear();
  }

  clear() {
    this.possible = null;
    this.held = null; // {label, ms} of this window
    this.line.hidden = true;
  }

  push({ step, start_us: startUs, end_us: endUs, set, committed }) {
    if (!set) return this.clear();
    if ((step - 1) % this.steps === 0) [this.beganUs, this.held] = [startUs, null];
    if (committed === null) this.held = null;
    else if (this.held?.label !== committed) this.held = { label: committed, ms: (endUs - this.beganUs) / 1000 };
    this.possible = set;
    return undefined;
  }

  draw() {
    const { line, held, possible } = this;
    line.hidden = !possible;
    if (!possible) return;
    const left = possible.length === 1 ? "1 class is" : `${possible.length} classes are`;
    const text = held ? `committed after ${Math.round(held.ms)} ms` : `${left} still possible`;
    if (line.textContent !== text) line.textContent = text;
    line.classList.toggle("held", Boolean(held));
  }
}
