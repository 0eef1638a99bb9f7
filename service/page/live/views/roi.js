// The region of interest of a model, over the picture that its pixels are counted in, in every mode.

import { $ } from "../../shared/dom.js";
import { RoiBox } from "../../shared/pictures/roi.js";
import * as state from "../state.js";

const roi = new RoiBox();

/** square: [left, top, side] as an answer has it, or nothing; a sheet to draw on is seen whole. */
export function showRoi(square) {
  const pictured = state.framed() || state.source === "file";
  roi.draw($(pictured ? "preview" : "events"), $("pad").hidden ? square : null);
}
