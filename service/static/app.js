// The page: wires sources (camera, sample, file) to one stream and its answers to the views.

import { Answer } from "./answer.js";
import { Camera, explain, FRAME } from "./camera.js";
import { offer } from "./choices.js";
import { dropTarget } from "./drop.js";
import { EventView } from "./eventview.js";
import { FileMode } from "./filemode.js";
import { drawExposure, drawSum } from "./longexposure.js";
import { Meters } from "./meters.js";
import { hideNotice, notice } from "./notice.js";
import { Player } from "./player.js";
import { Raster, Trace } from "./plots.js";
import { Recording } from "./record.js";
import { CalmPicture } from "./safety.js";
import * as server from "./server.js";
import { settings } from "./settings.js";
import { copy, snippets } from "./snippets.js";
import { Stream } from "./stream.js";
import { KIND, unpackBits } from "./wire.js";

const $ = (id) => document.getElementById(id);
const still = () => $("still").checked;
const PLAY_EVERY_MS = 25;
const PAINT_EVERY_MS = 30, STILL_MS = 1000;

const page = { source: "none", paused: false, models: [], name: "", resume: null };
const camera = new Camera();
const preview = new CalmPicture($("preview"));
const events = new EventView($("events"));
const raster = new Raster($("raster"), $("raster-layers"));
const trace = new Trace($("trace"), $("trace-legend"), $("trace-what"));
const meters = new Meters($("meters"));
const answer = new Answer({ label: $("label"), confidence: $("confidence"), classes: $("classes"), live: $("live") });
const stream = new Stream({ state: linkState, ready, prediction, answered, picture: (picture) => page.paused || events.add(picture), bad: (text) => notice("That frame was not understood.", text) });
const files = new FileMode({ answer, trace, meters }, () => ({ model: $("model").value, token: $("token").value }), (error) => notice("No spike train for this file.", error.message));
const recording = new Recording($("record"), $("record-kind"), $("preview"), $("events"));
let player = null;
let rasterRows = 0;

// ---- messages to people

const TIPS = {
  digit: "Write a digit with a thick pen, let the paper fill the square, and sway it a little: the network sees only change.",
  motion: "Move a hand or an object before the camera: left, right, up, down, around, towards it, away from it.",
};
const OVERLOADED_MS = 800; // end to end; the newest frame wins, so that this grows no further
const LINK = { idle: "ready", connecting: "connecting…", live: "live", retrying: "reconnecting…", busy: "server busy", refused: "refused" };

function linkState(state, detail = {}) {
  $("link").dataset.state = state;
  $("link-text").textContent = LINK[state];
  if (state === "live") {
    page.wasLive = true;
    return hideNotice();
  }
  if (detail.code === 1001) {
    if (page.source !== "server") return undefined; // paused for long: it connects anew
    stop();
    return notice("The camera has ended.", "It was unplugged, or its recording is over.");
  }
  if (state === "busy") return notice("The server is busy.", "It has no room for another stream just now; this page keeps trying.");
  if (state === "retrying" && detail.wasReady) return notice("The server is gone.", "Reconnecting by itself as soon as it is back; membranes start anew then.");
  if (state === "retrying" && detail.attempt === 3 && !page.wasLive) return notice("The server does not answer.", "Is it still running? This page keeps trying.");
  if (state === "refused") {
    stop();
    $("link").dataset.state = state;
    $("link-text").textContent = LINK[state];
    return notice("The server refused the stream.", detail.reason || `It closed with code ${detail.code}.`);
  }
  return undefined;
}

// ---- the stream's answers

function ready(message) {
  answer.setLabels(message.labels);
  trace.setLabels(message.labels, message.steps, message.step_us);
  rasterRows = message.raster_rows;
  const even = message.layers.map(() => message.raster_rows / message.layers.length);
  raster.setLayers(message.layers, message.raster_layers ?? even, message.step_us);
  meters.clear();
  meters.annMacs = message.ann_macs;
  meters.clockOffset = page.source === "server" ? performance.timeOrigin : 0;
  if (page.source === "camera") sendSettings();
}

function prediction(message) {
  if (page.paused && page.source !== "sample") return; // a sample's step is shown while it is paused
  meters.prediction(message, performance.now());
  raster.push(unpackBits(message.raster, rasterRows), message.reset);
  trace.push(message);
  recording.prediction(message);
  page.latest = message;
}

function answered(message) {
  meters.answered(message, performance.now(), stream.dropped);
}

// ---- sources

function show(source, { title = "Camera", note = "", name = "" } = {}) {
  page.source = document.body.dataset.source = source;
  page.name = name;
  page.paused = false;
  page.latest = null;
  $("source-title").textContent = title;
  $("source-note").textContent = note;
  const live = source === "camera" || source === "sample" || source === "server";
  $("stop").hidden = source === "none";
  $("stop").textContent = live ? "Stop" : "Close";
  $("pause").hidden = !live;
  $("reset").hidden = !live || source === "server"; // what all viewers share, no viewer resets
  $("flip").hidden = source !== "camera";
  $("tip").hidden = true;
  $("record").hidden = !live;
  $("speed-field").hidden = source !== "sample";
  $("events-title").textContent = source === "file" ? "Spike train" : "Events";
  $("raster-title").textContent = source === "file" ? "Input spikes" : "Spikes";
  $("raster-note").textContent = "each dot a spike, each row a neuron, by layer";
  $("raster-layers").replaceChildren();
  meters.clear();
  meters.annMacs = chosen()?.ann_macs ?? 0;
  $("preview").classList.toggle("mirror", source === "camera" && $("flip").getAttribute("aria-pressed") === "true");
  $("pause").setAttribute("aria-pressed", "false");
  $("step").hidden = true;
  answer.clear();
  trace.clear();
  raster.clear();
  events.clear();
  preview.resize(FRAME.width, FRAME.height);
}

function stop() {
  recording.stop();
  files.close();
  camera.stop();
  stream.close();
  player = null;
  $("device-field").hidden = true;
  show("none");
  linkState("idle");
}

function hello(width, height) {
  page.wasLive = false;
  return { model: $("model").value || null, token: $("token").value || undefined, width, height, picture: true };
}

async function startCamera() {
  stop();
  hideNotice();
  $("start").disabled = true;
  try {
    await camera.start($("device").value, frame, () => { stop(); notice("The camera was disconnected.", "Plug it in and start again.", { label: "Start again", run: startCamera }); });
    const { labels = [], contract: { width, height, still: way } = {} } = chosen() ?? {};
    $("guide").classList.toggle("shown", width === height);
    show("camera", { note: width === height ? "the network sees the square" : "" });
    $("tip").textContent = way === "digit" ? TIPS.digit : labels.includes("left") ? TIPS.motion : "";
    $("tip").hidden = !$("tip").textContent;
    await listDevices();
    stream.open(hello(FRAME.width, FRAME.height));
    $("stop").focus();
  } catch (error) {
    camera.stop();
    const { title, text } = explain(error);
    notice(title, text, error.name === "InsecureContext" ? null : { label: "Try again", run: startCamera });
  } finally {
    $("start").disabled = false;
  }
}

async function listDevices() {
  const devices = await camera.devices();
  $("device").replaceChildren(...devices.map((device, i) => new Option(device.label || `Camera ${i + 1}`, device.deviceId)));
  $("device").value = camera.deviceId;
  $("device-field").hidden = devices.length < 2;
}

let previewMs = 0;

async function frame(canvas, captureMs) {
  if (page.paused) return;
  if (!still() || captureMs - previewMs >= STILL_MS) {
    preview.draw(canvas, captureMs);
    previewMs = captureMs;
  }
  const seq = stream.reserve();
  if (seq === null) {
    if (stream.ready) stream.dropped++;
    return;
  }
  const jpeg = await camera.jpeg();
  if (jpeg) stream.send(seq, captureMs, KIND.image, jpeg);
}

async function playSample(item) {
  stop();
  hideNotice();
  chooseFor(item.label);
  try {
    const bytes = await server.sample(item.name, $("token").value);
    show("sample", { title: "Recording", note: `${item.label} · long exposure`, name: item.name });
    player = new Player(bytes, item.duration_us);
    $("speed").value = item.duration_us < 500_000 ? "0.25" : "0.5";
    drawExposure(preview, bytes, item);
    page.sample = item;
    events.resize(item.width, item.height);
    stream.open(hello(item.width, item.height));
    $("stop").focus();
  } catch (error) {
    notice("The recording did not load.", error.message);
  }
}

/** Send what became due; a busy stream only makes the next packet longer. */
let playedMs = 0;
function play(nowMs, us = (nowMs - playedMs) * 1000 * Number($("speed").value)) {
  if (!stream.free) return;
  playedMs = nowMs;
  const { packet, restarted } = player.advance(us);
  if (restarted) stream.command({ type: "reset" });
  if (packet) stream.send(stream.reserve(), nowMs, KIND.t64, packet);
}

setInterval(() => {
  const nowMs = performance.now();
  if (player && stream.ready && !page.paused) play(nowMs);
  else playedMs = nowMs;
}, PLAY_EVERY_MS);

/** A camera the server opened: its predictions, shared by all viewers. */
function watchServer(item) {
  stop();
  hideNotice();
  show("server", { name: item.source });
  $("events-title").textContent = item.source;
  page.camera = item;
  events.resize(item.width, item.height);
  stream.open({ ...hello(item.width, item.height), source: item.id });
  $("stop").focus();
}

async function openFile(file) {
  if (!file) return;
  stop();
  hideNotice();
  show("file", { title: "File", note: file.name, name: file.name });
  page.file = file;
  updateCode();
  $("link-text").textContent = "reading…";
  try {
    if (file.type.startsWith("image/")) await drawImage(file);
    await files.open(file, page.models);
    if (!file.type.startsWith("image/") && files.train) drawSum(preview, files.train);
    $("stop").focus();
  } catch (error) {
    stop();
    notice("No prediction for this file.", error.message, error.status === 503 ? { label: "Try again", run: () => openFile(file) } : null);
  }
  if (page.source === "file") $("link-text").textContent = LINK.idle;
}

async function drawImage(file) {
  const image = await createImageBitmap(file).catch(() => null);
  if (!image) return;
  const scale = Math.min(1, 640 / Math.max(image.width, image.height));
  preview.show(image, Math.round(image.width * scale), Math.round(image.height * scale));
}

// ---- one paint loop

let paintedMs = 0;
function paint(nowMs) {
  requestAnimationFrame(paint);
  if (nowMs - paintedMs < (still() ? STILL_MS : PAINT_EVERY_MS)) return;
  paintedMs = nowMs;
  if (page.source === "none") return;
  if (!page.paused && page.source !== "file") events.draw(nowMs);
  else events.lastMs = nowMs;
  trace.draw();
  if (page.source === "file") return;
  raster.draw();
  recording.draw();
  if (page.latest) answer.show(page.latest.probabilities, page.latest.steady, nowMs);
  meters.draw(nowMs);
  tellOverload();
}
requestAnimationFrame(paint);

/** A server that cannot keep up answers late: the pill beside the model says so. */
function tellOverload() {
  if (page.source !== "camera" || !stream.ready) return;
  const late = meters.mean.latency > OVERLOADED_MS;
  $("link").dataset.state = late ? "busy" : "live";
  $("link-text").textContent = late ? "live, overloaded" : LINK.live;
}

// ---- controls

function chosen() {
  return page.models.find(({ name }) => name === $("model").value);
}

/** A recording of a digit wants a model of digits: take the first that knows a word of its label, unless this one does. */
function chooseFor(label) {
  const words = label.split(/\W+/);
  const knows = (model) => model?.labels.some((name) => words.includes(name));
  const better = page.models.find(knows);
  if (!knows(chosen()) && better) $("model").value = better.name;
}

function restart() {
  if (page.source === "camera") startCamera();
  if (page.source === "sample") playSample(page.sample);
  if (page.source === "file") openFile(page.file);
  updateCode();
}

function sendSettings() {
  stream.command({ type: "settings", threshold: Number($("threshold").value), noise_hz: Number($("noise").value) });
}

function updateCode() {
  const path = page.name || "digit.png";
  const { curl, python } = snippets(location.origin, $("model").value, path);
  $("curl-text").textContent = curl;
  $("python-text").textContent = python;
}

function togglePause() {
  page.paused = !page.paused;
  $("pause").setAttribute("aria-pressed", String(page.paused));
  $("step").hidden = !(page.paused && page.source === "sample");
}

$("start").addEventListener("click", startCamera);
$("stop").addEventListener("click", () => { stop(); $("start").focus(); });
$("pause").addEventListener("click", togglePause);
$("step").addEventListener("click", () => play(performance.now(), 10_000));
$("reset").addEventListener("click", () => stream.command({ type: "reset" }));
$("flip").addEventListener("click", () => {
  const on = $("flip").getAttribute("aria-pressed") !== "true";
  $("flip").setAttribute("aria-pressed", String(on));
  $("preview").classList.toggle("mirror", on);
});
addEventListener("resize", () => page.source === "file" && files.train && files.paint(files.step));
$("device").addEventListener("change", startCamera);
$("model").addEventListener("change", restart);
$("file").addEventListener("change", () => { openFile($("file").files[0]); $("file").value = ""; });
$("notice-close").addEventListener("click", hideNotice);
$("settings-open").addEventListener("click", () => $("settings").showModal());
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button, $(button.dataset.copy).textContent));

settings({ decay: (ms) => (events.decayMs = ms), emulator: sendSettings });

dropTarget($("drop"), openFile);

// A hidden page must not watch: the camera's light goes off, and comes back with the page.
document.addEventListener("visibilitychange", () => {
  if (document.hidden && page.source === "camera") {
    stop();
    page.resume = startCamera;
  } else if (!document.hidden && page.resume) {
    const resume = page.resume;
    page.resume = null;
    resume();
  }
});

async function loadModels() {
  try {
    const list = await server.models($("token").value);
    page.models = list.models;
    $("model").replaceChildren(...list.models.map((model) => new Option(model.name, model.name)));
    $("model").value = list.default;
    $("model").disabled = !list.models.length;
    if (!list.models.length) notice("No model is loaded.", "Start the server with one: spikesight serve --model FOLDER.");
    return true;
  } catch (error) {
    const asks = error.status === 401;
    notice(asks ? "This server asks for a token." : "No models.", asks ? "Enter it in the settings." : error.message, asks ? { label: "Settings", run: () => $("settings").showModal() } : { label: "Try again", run: load });
    return false;
  }
}

async function loadSamples() {
  const samples = await server.samples($("token").value);
  offer($("samples"), samples, (item) => item.label, (item) => `Play the recording ${item.label}`, playSample);
}

async function loadCameras() {
  const cameras = await server.cameras($("token").value);
  offer($("cameras"), cameras, (item) => item.source, (item) => `Watch ${item.source}`, watchServer);
}

async function load() {
  hideNotice();
  if (await loadModels()) await Promise.all([loadSamples(), loadCameras()]);
  updateCode();
}

$("token").addEventListener("change", load);
if (!window.isSecureContext) {
  const { title, text } = explain({ name: "InsecureContext" });
  notice(title, text);
}
load();
