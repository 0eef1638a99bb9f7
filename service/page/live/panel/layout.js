// Which controls and titles are shown for a source, and the boxes over its picture.

import { $ } from "../../shared/dom.js";
import { Boxes } from "../../shared/pictures/roi.js";
import { state } from "../state.js";

const LIVE = ["camera", "sample", "server", "video"];

/** Show `source`, unpaused; details: {title, note}, and input: what is shown. intro: beside the start page's choices. */
export function arrange(source, { title = "Camera", note = "", intro = false, input = null } = {}) {
  const live = LIVE.includes(source);
  Object.assign(state, { source, input, intro, paused: false });
  document.body.dataset.source = source;
  document.body.toggleAttribute("data-intro", intro);
  $("source-title").textContent = title;
  $("source-note").textContent = note;
  $("stop").hidden = source === "none";
  $("stop").textContent = live ? "Stop" : "Close";
  Object.assign($("pause"), { hidden: !live, ariaPressed: "false" });
  $("step").hidden = true;
  $("reset").hidden = !live || intro || source === "server"; // what all viewers share, no viewer resets
  $("flip").hidden = source !== "camera";
  $("speed-field").hidden = source !== "sample" || intro;
  $("pad-controls").hidden = true;
  $("device-field").hidden = $("device-field").hidden || source !== "camera";
  $("events-title").textContent = source === "file" ? "Network input" : "Events";
  $("inside-note").textContent = "";
  $("preview").classList.toggle("mirror", source === "camera" && $("flip").ariaPressed === "true");
}

const outlines = new Boxes();

/** Show what a model looks at or has found, over the picture in whose pixels it is given; boxes: as Boxes takes them. */
export function showBoxes(boxes) {
  outlines.draw($("pad").hidden ? $(state.framed() || state.source === "file" ? "preview" : "events") : $("pad"), boxes);
}

export function mirror() {
  $("flip").ariaPressed = String($("preview").classList.toggle("mirror"));
}

export function togglePause() {
  state.paused = !state.paused;
  $("pause").ariaPressed = String(state.paused);
  $("step").hidden = !(state.paused && state.source === "sample");
}
