// Which controls and titles are shown for a source.

import { $ } from "../../shared/dom.js";
import * as state from "../state.js";

const LIVE = ["camera", "sample", "server", "video"];

/** Show `source`, unpaused; details: {title, note}. intro: beside the start page's choices. */
export function arrange(source, { title = "Camera", note = "", intro = false } = {}) {
  const live = LIVE.includes(source);
  state.setSource(source, intro);
  document.body.dataset.source = source;
  document.body.toggleAttribute("data-intro", intro);
  $("source-title").textContent = title;
  $("source-note").textContent = note;
  $("stop").hidden = source === "none";
  $("stop").textContent = live ? "Stop" : "Close";
  $("pause").hidden = !live;
  $("pause").setAttribute("aria-pressed", "false");
  $("step").hidden = true;
  $("reset").hidden = !live || intro || source === "server"; // what all viewers share, no viewer resets
  $("flip").hidden = source !== "camera";
  $("speed-field").hidden = source !== "sample" || intro;
  $("pad-controls").hidden = true;
  $("device-field").hidden = $("device-field").hidden || source !== "camera";
  $("events-title").textContent = source === "file" ? "Network input" : "Events";
  $("inside-note").textContent = "";
  $("preview").classList.toggle("mirror", source === "camera" && $("flip").getAttribute("aria-pressed") === "true");
}

export function mirror() {
  const on = $("flip").getAttribute("aria-pressed") !== "true";
  $("flip").setAttribute("aria-pressed", String(on));
  $("preview").classList.toggle("mirror", on);
}

export function togglePause() {
  state.setPaused(!state.paused);
  $("pause").setAttribute("aria-pressed", String(state.paused));
  $("step").hidden = !(state.paused && state.source === "sample");
}
