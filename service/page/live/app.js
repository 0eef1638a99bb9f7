// The live page: one source at a time, classified by one model, or by several side by side.

import { complain } from "../shared/sources/camera.js";
import { $, hideNotice, listenForFiles, notice, on, repaint } from "../shared/dom.js";
import { EventView } from "../shared/pictures/eventview.js";
import { CalmPicture } from "../shared/pictures/safety.js";
import { taskOf } from "../shared/answer.js";
import { Compare } from "./modes/compare.js";
import { Single } from "./modes/single.js";
import { Teach } from "./modes/teach.js";
import * as server from "./net/server.js";
import { calm, load, offerSettings, settings } from "./panel/controls.js";
import { arrange, mirror, togglePause } from "./panel/layout.js";
import { knows, Playback } from "./sources/playback.js";
import { Stills } from "./sources/stills.js";
import { Film, STILL_MS, Webcam } from "./sources/webcam.js";
import { state } from "./state.js";

const preview = new CalmPicture($("preview"));
const events = new EventView($("events"));
const parts = { events, stop, opened: sendSettings }; // of a mode: as OneStream takes them
const single = new Single(parts);
const compare = new Compare(parts);
const teach = new Teach({ ...parts, saved: async (name) => {
  await begin();
  $("model").value = name;
  offerSettings();
} });
const looker = () => (state.teaching ? teach : state.comparing ? compare : single);
const sources = [Webcam, Film, Playback, Stills].map((Source) => new Source(preview, looker, stop));
const [webcam, film, playback, stills] = sources;

/** End the present source; for another: what was said of this one goes, too. */
function stop(another = false) {
  if (another) hideNotice();
  for (const one of [...sources, single, compare, teach]) one.close();
  arrange("none");
  single.clear();
}

/** A camera that the server opened: its predictions are shared by all viewers. */
function watchServer(item) {
  stop(true);
  arrange("server", { input: item });
  looker().clear();
  $("events-title").textContent = item.source;
  looker().open({ ...item, source: item.id });
  $("stop").focus();
}

function open(file, event) {
  if (file?.type.startsWith("video/")) film.start(file);
  else if (state.teaching) teach.files(event ? [...event.dataTransfer.files] : [file], undefined, event);
  else stills.open(file);
}

/** Play a sample recording on the start page, unless the user prefers reduced motion. */
function introduce() {
  const item = state.samples.find((one) => knows(state.chosenModel(), one));
  if ($("start").disabled) return; // the camera is being asked for
  if (item && !calm.matches && !document.hidden && !state.teaching) playback.start(item, { intro: true });
  else stop();
}

/** Open the same source again, after a change of model or mode. */
function restart() {
  if (!state.intro) again();
  else if (state.comparing || state.teaching) stop();
  else introduce();
  hint();
}

function again() {
  if (state.source === "camera") webcam.start();
  if (state.source === "video") film.start(state.input);
  if (state.source === "sample") playback.start(state.input);
  if (state.source === "server") watchServer(state.input);
  if (state.source === "file" && state.teaching) stop(); // no example unless it is given as one
  else if (state.source === "file") $("pad").hidden ? stills.open(state.input) : state.input && stills.drawn();
}

/** Switch between one model, a comparison of models, and teaching. */
function setMode({ comparing = false, teaching = false }) {
  looker().close();
  Object.assign(state, { comparing, teaching });
  document.body.toggleAttribute("data-comparing", comparing);
  document.body.toggleAttribute("data-teaching", teaching);
  $("comparing").ariaPressed = String(comparing);
  $("teaching").ariaPressed = String(teaching);
  compare.offer();
  looker().clear();
  restart();
}

function sendSettings() {
  if (state.framed()) looker().command({ type: "settings", threshold: Number($("threshold").value), noise_hz: Number($("noise").value) });
}

const hint = () => ($("hint").textContent = taskOf(state.chosenModel()?.labels).hint);

/** Remove the chosen model, which was taught and saved here. */
async function remove() {
  const { name } = state.chosenModel();
  if (!confirm(`Remove ${name} for everybody who uses this server?`)) return;
  $("settings").close();
  try {
    await server.remove(name, state.token());
    await begin();
    $("model").dispatchEvent(new Event("change"));
  } catch (error) {
    notice("That did not work.", error.message);
  }
}

repaint((nowMs) => state.source !== "none" && looker().draw(nowMs), () => state.stillView() && STILL_MS);

on("start", "click", () => webcam.start());
on("draw", "click", () => stills.draw());
on("stop", "click", () => { stop(); $("start").focus(); });
on("pause", "click", togglePause);
on("step", "click", () => playback.step());
on("reset", "click", () => looker().command({ type: "reset" }));
on("flip", "click", mirror);
on("comparing", "click", () => setMode({ comparing: !state.comparing }));
on("teaching", "click", () => setMode({ teaching: !state.teaching }));
on("device", "change", () => webcam.start());
on("model", "change", () => { offerSettings(); restart(); });
on("bin", "change", restart);
on("several", "change", restart);
on("settings-open", "click", () => $("settings").showModal());
on("kept-remove", "click", remove);
on("token", "change", begin);
addEventListener("resize", () => looker().resized?.());
settings(sendSettings);
listenForFiles(open);

// A hidden page must not watch: turn the camera off while hidden, and on again afterwards.
let resume = null;
document.addEventListener("visibilitychange", () => {
  if (document.hidden && (webcam.camera.visit || state.intro)) {
    const { paused } = state;
    resume = state.intro ? introduce : () => webcam.start().then(() => paused && state.source === "camera" && togglePause());
    stop();
  } else if (!document.hidden && resume) {
    resume();
    resume = null;
  }
});

async function begin() {
  await load((item) => playback.start(item), watchServer, begin);
  compare.offer();
  offerSettings();
  hint();
  if (state.source === "none") introduce();
}

if (!window.isSecureContext) complain({ name: "InsecureContext" });
begin();
