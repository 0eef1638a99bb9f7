// The region of interest of a model, over the picture that its pixels are counted in, in every mode.

import { $ } from "../../shared/dom.js";
import { RoiBox } from "../../shared/pictures/roi.js";
import * as state from "../state.js";

const roi = new RoiBox();
const boxes = Array.from({ length: 8 }, () => new RoiBox());

/** square: [left, top, side] as an answer has it, or nothing; a sheet to draw on is seen whole. */
export function showRoi(square) {
  roi.draw(looked(), $("pad").hidden ? square : null);
}

/** objects: as an answer of a stream that looks for several has them, or nothing. */
export function showObjects(objects) {
  boxes.forEach((box, n) => box.draw(looked(), objects?.[n]?.box, objects?.[n]?.label));
}

/** The picture that an answer's pixels are counted in. */
function looked() {
  return $(state.framed() || state.source === "file" ? "preview" : "events");
}
