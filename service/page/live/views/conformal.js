// How many classes are still possible, or the one that is left and when; or that the input is not what was calibrated. The
// guarantee is for a share of all recordings of each class, from a reset on, not of those committed to.

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
    this.held = null; // {label, ms} of this window
    this.line.hidden = true;
  }

  push({ step, start_us: startUs, end_us: endUs, set, committed, shifted }) {
    const { line } = this, count = ((step - 1) % this.steps) + 1; // of the window, whose first steps may not have been seen here
    if (count === 1 || committed === null) this.held = null;
    if (committed !== null && this.held?.label !== committed) this.held = { label: committed, ms: (count * (endUs - startUs)) / 1000 };
    line.hidden = !set;
    if (this.held) line.textContent = `committed after ${Math.round(this.held.ms)} ms (of recordings that begin with the stream, at most ${Number((100 * this.errorRate).toPrecision(2))} % wrongly)`;
    else if (shifted) line.textContent = "this is not what was calibrated: nothing is guaranteed";
    else line.textContent = `${set?.length === 1 ? "1 class is" : `${set?.length} classes are`} still possible; what is ruled out is struck out`;
    line.classList.toggle("held", Boolean(this.held));
  }
}
