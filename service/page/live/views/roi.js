// The region of interest of a model, drawn over the picture in whose pixels it is given, in every mode.

import { $ } from "../../shared/dom.js";
import { RoiBox } from "../../shared/pictures/roi.js";
import * as state from "../state.js";

const CROP = 64; // pixels of a side
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

/** The part of the camera's picture that the network looks at, `square` or else the middle, as a canvas; null if there is none. */
export function crop(square) {
  if (!state.framed()) return null;
  const { width, height } = $("preview");
  const side = Math.min(width, height), [left, top, size] = square ?? [(width - side) / 2, (height - side) / 2, side];
  const canvas = Object.assign(document.createElement("canvas"), { width: CROP, height: CROP });
  canvas.getContext("2d").drawImage($("preview"), left, top, size, size, 0, 0, CROP, CROP);
  return canvas;
}

/** The picture whose pixels an answer's coordinates refer to. */
function looked() {
  return $(state.framed() || state.source === "file" ? "preview" : "events");
}
