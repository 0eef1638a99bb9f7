// The region of interest of a model, drawn over the picture in whose pixels it is given, in every mode.

import { $ } from "../../shared/dom.js";
import { RoiBox } from "../../shared/pictures/roi.js";
import * as state from "../state.js";

const roi = new RoiBox();
const boxes = Array.from({ length: 8 }, () => new RoiBox());

/** square: [left, top, side] as in an answer, or nothing; a drawn sheet is always used whole. */
export function showRoi(square) {
  roi.draw(looked(), $("pad").hidden ? square : null);
}

/** objects: as in an answer of a stream that looks for several, or nothing. */
export function showObjects(objects) {
  boxes.forEach((box, n) => box.draw(looked(), objects?.[n]?.box, objects?.[n]?.label));
}

/** The picture whose pixels an answer's coordinates refer to. */
function looked() {
  return $(state.framed() || state.source === "file" ? "preview" : "events");
}
