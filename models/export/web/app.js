// The page without a server: source (camera, video, picture, recording) -> emulator -> bins -> network -> answer.

import { Answer, evidenceTitle, foundIn, taskOf, titleOf } from "../shared/answer.js";
import { Camera, complain, FRAME, Video } from "../shared/sources/camera.js";
import { $, buttonList, hideNotice, listenForFiles, notice, on, pill, repaint, sentence, write } from "../shared/dom.js";
import { EventView } from "../shared/pictures/eventview.js";
import { Player } from "../shared/sources/player.js";
import { NetworkView } from "../shared/pictures/network.js";
import { Trace } from "../shared/pictures/plots.js";
import { CalmPicture } from "../shared/pictures/safety.js";
import { Boxes } from "../shared/pictures/roi.js";
import { thumbnail } from "../shared/pictures/thumbnail.js";
import { Emulator, picture, StreamBinner } from "./events.js";
import { luma, MovedFrames } from "./frames.js";
import { bytes, loadFacts, loadNetworks } from "./network.js";
import { Still } from "./sources.js";

const PLAY_EVERY_MS = 25;
const SLOW = 0.25; // recordings are short: a quarter of their speed
const MOST_BEHIND_US = 1_000_000; // bins older than this are left out where the machine cannot keep up
const LONGEST_MS = 66; // from frame to frame of a full frame: a slower machine has a slower clock, since there the page itself moves what is seen

const state = { source: "none", latest: null, stepMs: 0, steps: 0 };
const camera = new Camera();
const video = new Video();
const still = new Still();
const preview = new CalmPicture($("preview"));
const events = new EventView($("events"));
const boxes = new Boxes();
const answer = new Answer($("answer"));
const inside = new NetworkView($("inside"), (probe) => network && (network.probe = probe));
const trace = new Trace($("trace"), $("trace-legend"));
let facts, networks, pixels;
let network = null; // of the source
let eye = null, binner = null, player = null, restart = false; // eye: frames to events
let clock = null; // {frameMs: when the last frame came, ms: what the stream takes for it}
let visit = null; // a new object with each choice of a source, so that what comes late for an earlier one is known

/** Run the network on bins, one after another. If it is too far behind, old bins are skipped and the membranes reset. */
function classify(bins) {
  const most = Math.max(1, Math.ceil(MOST_BEHIND_US / facts.contract.bin_us));
  if (bins.length > most) {
    bins = bins.slice(-most);
    bins[0].reset = true;
  }
  for (const bin of bins) {
    const began = performance.now(), fresh = bin.reset || restart;
    restart = false;
    const result = network.run(bin.x, fresh);
    const took = performance.now() - began;
    state.stepMs = state.steps++ ? 0.9 * state.stepMs + 0.1 * took : took;
    if (result.inside) inside.push(result.inside, result.reset);
    trace.push(result);
    state.latest = { ...result, nEvents: bin.nEvents, startUs: bin.startUs, endUs: bin.endUs };
  }
}

/** Show events, and classify the bins that they close. */
function take(seen, { width, height }, bins) {
  events.add(picture(seen, width, height));
  try {
    classify(bins);
  } catch (error) {
    stop();
    notice("The network stopped.", String(error.message ?? error));
  }
}

function frame(canvas, captureMs) {
  preview.draw(canvas, captureMs);
  const { data } = canvas.getContext("2d").getImageData(0, 0, FRAME.width, FRAME.height);
  const passedMs = clock ? captureMs - clock.frameMs : 0;
  clock = { frameMs: captureMs, ms: (clock?.ms ?? captureMs) + (facts.view ? Math.min(passedMs, LONGEST_MS) : passedMs) };
  const tUs = Math.round(clock.ms * 1000);
  const seen = eye.push(data, FRAME.width, FRAME.height, tUs);
  take(seen, eye.size, [...binner.push(seen), ...binner.look(tUs)]);
}

let playedMs = 0;
setInterval(() => {
  const nowMs = performance.now(), packet = player?.advance((nowMs - playedMs) * 1000 * SLOW);
  playedMs = nowMs;
  if (packet) take(packet, state.sample, binner.push(packet));
}, PLAY_EVERY_MS);

/** Whether a network gets the frames' square middle. */
const square = () => !facts.view && facts.contract.width === facts.contract.height;

/** Return what turns frames into events: pixels of the frames' size, or those before which a view is moved. */
function newEye() {
  if (facts.view) return new MovedFrames(facts.view, pixels);
  const emulator = new Emulator(pixels);
  return { size: FRAME, push: (data, width, height, tUs) => emulator.push(luma(data), tUs), release: () => emulator.release() };
}

function begin(source, title, note, sensor = null) {
  eye?.release();
  binner?.release();
  eye = newEye();
  clock = null;
  boxes.draw($("preview"), null);
  const { width, height } = sensor ?? eye.size, looks = !sensor && facts.view, of = looks || facts;
  network = looks ? networks.view : networks.whole;
  state.source = document.body.dataset.source = source;
  state.latest = null;
  state.steps = 0;
  network.begin();
  network.probe = inside.probe;
  $("source-title").textContent = title;
  $("source-note").textContent = note;
  $("facts").textContent = "";
  pill(...(source === "none" ? ["idle", "ready"] : ["live", "live"]));
  $("guide").classList.toggle("shown", source === "camera" && square());
  answer.clear();
  inside.setMaps(of.layers, of.contract, facts.contract.bin_us);
  trace.setLabels(facts.labels, facts.contract.bin_us);
  $("train-note").textContent = source === "camera" ? taskOf(facts.labels).hint : "";
  $("train-note").hidden = source !== "camera";
  events.clear();
  events.resize(width, height);
  preview.resize(FRAME.width, FRAME.height);
  binner = new StreamBinner({ contract: of.contract, front: facts.front }, width, height);
}

function stop() {
  for (const one of [camera, video, still]) one.stop();
  player = null;
  visit = {};
  begin("none", "Camera", "");
}

/** Change to another source: open(isHere) resolves to whether it is shown; failed(error) tells of a failure. */
async function change(open, failed) {
  stop();
  hideNotice();
  const here = visit;
  try {
    if (await open(() => visit === here)) $("stop").focus();
  } catch (error) {
    if (visit !== here) return; // another source by now
    stop();
    failed(error);
  }
}

const startCamera = () => change(async () => {
  const runs = await camera.start("", frame, () => { stop(); complain({ name: "Disconnected" }, startCamera); });
  if (runs) begin("camera", "Camera", square() ? "the network sees the square" : "");
  return runs;
}, (error) => complain(error, startCamera));

const recording = async ({ name }) => new Uint8Array(await bytes(`samples/${name}.t64`));

const playSample = (item) => change(async (isHere) => {
  const events = await recording(item);
  if (!isHere()) return false;
  begin("sample", "Recording", `${item.label} · long exposure`, item);
  state.sample = item;
  preview.show(thumbnail(events, item), item.width, item.height);
  playedMs = performance.now();
  player = new Player(events, item.duration_us);
  return true;
}, (error) => notice("The recording did not load.", sentence(error.message)));

function openFile(file) {
  if (!file || !network) return;
  const source = file.type.startsWith("video/") ? video : still;
  change(() => {
    begin("file", source === video ? "Video" : "Picture", source === still ? `${file.name} · moved before the emulated camera` : file.name);
    return source.open(file, frame, facts);
  }, () => notice("This file cannot be shown.", "Choose a picture or a video that this browser knows."));
}

function paint(nowMs) {
  if (state.source === "none") return;
  events.draw(nowMs);
  inside.draw(nowMs);
  trace.draw();
  write($("trace-title"), evidenceTitle(state.latest ?? {}));
  if (!state.latest) return;
  const { probabilities, label, step, nEvents, objects } = state.latest;
  answer.show({ probabilities, label, ...foundIn({ objects }) }, nowMs);
  boxes.draw($("preview"), objects);
  $("facts").textContent = `step ${step}, ${nEvents} events in it, ${state.stepMs.toFixed(1)} ms to compute`;
}

on("start", "click", startCamera);
on("stop", "click", () => { stop(); $("start").focus(); });
on("reset", "click", () => (restart = true));
listenForFiles(openFile);
document.addEventListener("visibilitychange", () => document.hidden && camera.visit && stop());

async function load() {
  try {
    ({ facts, pixels } = await loadFacts());
    networks = await loadNetworks(facts);
  } catch (error) {
    pill("refused", "not loaded");
    return notice("The network did not load.", String(error.message ?? error), { label: "Try again", run: load });
  }
  answer.setLabels(facts.labels);
  $("model").textContent = titleOf(facts);
  $("hint").textContent = taskOf(facts.labels).hint;
  $("start").disabled = $("file").disabled = false;
  const picture = async (item) => thumbnail(await recording(item), item);
  buttonList($("samples"), facts.samples, (item) => item.label.split(",")[0], (item) => `Play the recording ${item.label}`, playSample, picture);
  stop();
  return repaint(paint);
}

load();
