// What a stream is committed to and since when, or how many classes are still possible; or that it is not what was calibrated.

export class Promised {
  constructor(line) {
    this.line = line;
    this.clear();
  }

  /** errorRate: the rate that the stream asked for. */
  begin(errorRate) {
    this.percent = Number((100 * errorRate).toPrecision(2));
    this.clear();
  }

  clear() {
    this.line.hidden = true;
  }

  push({ end_us: endUs, commitment }) {
    const { line, percent } = this;
    line.hidden = !commitment;
    if (!commitment) return;
    const { label, set, shifted, at_us: atUs } = commitment;
    if (label !== null) line.textContent = `Committed to ${label} for ${Math.round((endUs - atUs) / 1000)} ms: of all things that come into view, in each class, at most ${percent} % are committed to wrongly, if they are like those of the calibration.`;
    else if (shifted) line.textContent = "This is not like what was calibrated: nothing is committed to.";
    else line.textContent = `${set.length === 1 ? "1 class is" : `${set.length} classes are`} still possible.`;
    line.classList.toggle("held", label !== null);
  }
}
