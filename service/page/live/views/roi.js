// What a model looks at or has found, drawn over the picture in whose pixels it is given, in every mode.

import { $ } from "../../shared/dom.js";
import { RoiBox } from "../../shared/pictures/roi.js";
import * as state from "../state.js";

const outlines = Array.from({ length: 8 }, () => new RoiBox());

/** boxes: {box: as RoiBox takes it, label?} of each, or nothing. */
export function showBoxes(boxes) {
  const picture = $("pad").hidden ? $(state.framed() || state.source === "file" ? "preview" : "events") : $("pad");
  outlines.forEach((outline, n) => outline.draw(picture, boxes?.[n]?.box, boxes?.[n]?.label));
}
