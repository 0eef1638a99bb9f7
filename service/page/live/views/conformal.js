// What a stream is committed to and since when, or how many classes are still possible; or that it is not what was calibrated.

/** Show it for a prediction; errorRate: the rate that the stream asked for. */
export function showCommitment(line, { end_us: endUs, commitment }, errorRate) {
  const percent = Number((100 * errorRate).toPrecision(2));
  line.hidden = !commitment;
  if (!commitment) return;
  const { label, set, shifted, at_us: atUs } = commitment;
  if (label !== null) line.textContent = `Committed to ${label} for ${Math.round((endUs - atUs) / 1000)} ms: of all objects that come into view, in each class, at most ${percent} % are committed to wrongly, if they are like those of the calibration.`;
  else if (shifted) line.textContent = "This is not like what was calibrated: nothing is committed to.";
  else line.textContent = `${set.length === 1 ? "1 class is" : `${set.length} classes are`} still possible.`;
}
