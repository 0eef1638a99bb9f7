// The page: one source at a time, looked at by one model or by several side by side.

import { explain } from "./camera.js";
import { Compare } from "./compare.js";
import { dropTarget } from "./drop.js";
import { EventView } from "./eventview.js";
import { arrange, mirror, togglePause } from "./layout.js";
import { load } from "./lists.js";
import { hideNotice, notice } from "./notice.js";
import { $, page, still } from "./page.js";
import { Playback } from "./playback.js";
import { CalmPicture } from "./safety.js";
import { settings } from "./settings.js";
import { Single } from "./single.js";
import { copy, snippets } from "./snippets.js";
import { Stills } from "./stills.js";
import { STILL_MS, Webcam } from "./webcam.js";

const PAINT_EVERY_MS = 30;

const preview = new CalmPicture($("preview"));
const events = new EventView($("events"));
const single = new Single(events, stop, sendSettings);
const compare = new Compare(events, stop, sendSettings);
const looker = () => (page.comparing ? compare : single);
const webcam = new Webcam(preview, looker, stop);
const playback = new Playback(preview, looker, stop);
const stills = new Stills(preview, looker, stop, updateCode);

// ---- sources

function stop() {
  for (const source of [webcam, playback, stills]) source.close();
  for (const one of [single, compare]) one.close();
  arrange("none");
  single.clear();
}

/** A camera the server opened: its predictions, shared by all viewers. */
function watchServer(item) {
  stop();
  hideNotice();
  arrange("server", { name: item.source });
  looker().clear();
  $("events-title").textContent = item.source;
  page.input = item;
  looker().open({ ...item, source: item.id });
  $("stop").focus();
}

/** The same source again, after a change of the model or the mode. */
function restart() {
  if (page.source === "camera") webcam.start();
  if (page.source === "sample") playback.start(page.input);
  if (page.source === "server") watchServer(page.input);
  if (page.source === "file") $("pad").hidden ? stills.open(page.input) : page.input && stills.drawn();
  updateCode();
}

function setComparing(on) {
  looker().close();
  page.comparing = on;
  document.body.toggleAttribute("data-comparing", on);
  $("comparing").setAttribute("aria-pressed", String(on));
  compare.offer();
  looker().clear();
  restart();
}

function sendSettings() {
  if (page.source === "camera") looker().command({ type: "settings", threshold: Number($("threshold").value), noise_hz: Number($("noise").value) });
}

function updateCode() {
  const { curl, python } = snippets(location.origin, $("model").value, page.name || "digit.png");
  $("curl-text").textContent = curl;
  $("python-text").textContent = python;
}

// ---- one paint loop

let paintedMs = 0;
function paint(nowMs) {
  requestAnimationFrame(paint);
  if (page.source === "none" || nowMs - paintedMs < (still() ? STILL_MS : PAINT_EVERY_MS)) return;
  paintedMs = nowMs;
  looker().draw(nowMs);
}
requestAnimationFrame(paint);

// ---- controls

const on = (id, event, run) => $(id).addEventListener(event, run);

on("start", "click", () => webcam.start());
on("draw", "click", () => stills.draw());
on("stop", "click", () => { stop(); $("start").focus(); });
on("pause", "click", togglePause);
on("step", "click", () => playback.step());
on("reset", "click", () => looker().command({ type: "reset" }));
on("flip", "click", mirror);
on("comparing", "click", () => setComparing(!page.comparing));
on("device", "change", () => webcam.start());
on("model", "change", restart);
on("file", "change", () => { stills.open($("file").files[0]); $("file").value = ""; });
on("notice-close", "click", hideNotice);
on("settings-open", "click", () => $("settings").showModal());
on("token", "change", begin);
addEventListener("resize", () => looker().resized());
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button, $(button.dataset.copy).textContent));
settings({ decay: (ms) => (events.decayMs = ms), emulator: sendSettings });
dropTarget($("drop"), (file) => stills.open(file));

// A hidden page must not watch: the camera's light goes off, and comes back with the page.
let resume = false;
document.addEventListener("visibilitychange", () => {
  if (document.hidden && page.source === "camera") {
    stop();
    resume = true;
  } else if (!document.hidden && resume) {
    resume = false;
    webcam.start();
  }
});

async function begin() {
  await load((item) => playback.start(item), watchServer);
  compare.offer();
  updateCode();
}

if (!window.isSecureContext) {
  const { title, text } = explain({ name: "InsecureContext" });
  notice(title, text);
}
begin();
