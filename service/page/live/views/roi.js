// What a model looks at or has found, drawn over the picture in whose pixels it is given, in every mode.

import { $ } from "../../shared/dom.js";
import { Boxes } from "../../shared/pictures/roi.js";
import * as state from "../state.js";

const outlines = new Boxes();

/** boxes: as Boxes takes them. */
export function showBoxes(boxes) {
  outlines.draw($("pad").hidden ? $(state.framed() || state.source === "file" ? "preview" : "events") : $("pad"), boxes);
}
