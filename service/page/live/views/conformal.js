// The label that a stream commits to: how many classes are still possible, and when one was left; or that the input is
// not what was calibrated. The guarantee is for a share of all windows of each class, not of those committed to.

export class Promised {
  constructor(line) {
    this.line = line;
    this.clear();
  }

  /** steps: length of a window; the next begins where it ends. errorRate: the rate that the stream asked for. */
  begin(steps, errorRate) {
    Object.assign(this, { steps, errorRate });
    this.clear();
  }

  clear() {
    this.possible = null;
    this.held = null; // {label, ms} of this window
    this.line.hidden = true;
  }

  push({ step, start_us: startUs, end_us: endUs, set, committed, shifted }) {
    if (!set) return this.clear();
    this.shifted = Boolean(shifted);
    const count = ((step - 1) % this.steps) + 1; // of the window, whose first steps may not have been seen here
    if (count === 1 || committed === null) this.held = null;
    if (committed !== null && this.held?.label !== committed) this.held = { label: committed, ms: (count * (endUs - startUs)) / 1000 };
    this.possible = set;
    return undefined;
  }

  draw() {
    const { line, held, possible } = this;
    line.hidden = !possible;
    if (!possible) return;
    const left = possible.length === 1 ? "1 class is" : `${possible.length} classes are`;
    const open = this.shifted ? "this is not what was calibrated: nothing is guaranteed" : `${left} still possible`;
    const text = held ? `committed after ${Math.round(held.ms)} ms (of all recordings, at most ${Number((100 * this.errorRate).toPrecision(2))} % wrongly)` : open;
    if (line.textContent !== text) line.textContent = text;
    line.classList.toggle("held", Boolean(held));
  }
}
