// The window that a model looks through, over the picture that its pixels are counted in: in every mode the same.

import { $ } from "../../shared/dom.js";
import { RoiBox } from "../../shared/pictures/roi.js";
import * as state from "../state.js";

const roi = new RoiBox();

/** square: [left, top, side] as an answer has it, or nothing; a sheet to draw on is looked at as a whole. */
export function showLookedAt(square) {
  const pictured = state.framed() || state.source === "file";
  roi.draw($(pictured ? "preview" : "events"), $("pad").hidden ? square : null);
}
