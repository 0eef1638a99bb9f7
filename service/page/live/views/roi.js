// What a model looks at or has found, drawn over the picture in whose pixels it is given, in every mode.

import { $ } from "../../shared/dom.js";
import { RoiBox } from "../../shared/pictures/roi.js";
import * as state from "../state.js";

const outlines = Array.from({ length: 8 }, () => new RoiBox());

/** boxes: {box: as RoiBox takes it, label?} of each, or nothing; a drawn sheet is always used whole. */
export function showBoxes(boxes) {
  const picture = $(state.framed() || state.source === "file" ? "preview" : "events");
  outlines.forEach((outline, n) => outline.draw(picture, $("pad").hidden ? boxes?.[n]?.box : null, boxes?.[n]?.label));
}
