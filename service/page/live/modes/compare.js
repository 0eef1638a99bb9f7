// Compare several models on the same input: each one's answer after every step, and the cost.

import { Speaker, titleOf } from "../../shared/answer.js";
import { $, element, on } from "../../shared/dom.js";
import * as server from "../net/server.js";
import { tell } from "../panel/connection.js";
import { showBoxes } from "../panel/layout.js";
import { state } from "../state.js";
import { Column, originOf } from "../views/comparecolumn.js";
import { SpikeTrain } from "../views/spiketrain.js";
import { ask, Rounds, Streaming } from "./broadcast.js";

const DRAW_MS = 200; // words that change faster cannot be read
const ORDER = ["direct", "converted", "ann"];
const IMAGES_ONLY = "Takes pictures, and these are events. Show it a picture, or start the camera.";

const takesEvents = ({ contract }) => contract.kind === "events";

/** Whether the source gives events. Pictures can be turned into events, but not events into pictures. */
const ofEvents = () => ["sample", "server"].includes(state.source) || (state.source === "file" && state.input && !state.input.type.startsWith("image/"));

export class Compare {
  constructor(parts) {
    Object.assign(this, parts, { columns: [], streams: [], rounds: null, drawnMs: 0 });
    this.picked = null; // names, once somebody has picked
    this.round = 0; // answers to an earlier input are late and dropped
    this.speaker = new Speaker($("compare-live"));
    on("compare-at", "input", () => { this.follow = $("compare-at").value === $("compare-at").max; this.show(); });
  }

  /** Image models before event models, ordered by origin. */
  get models() {
    const place = ({ contract, origin }) => (contract.kind === "image" ? 0 : 10) + ORDER.indexOf(origin);
    return [...state.models].sort((a, b) => place(a) - place(b));
  }

  /** Names of the compared models. Until the user picks: for pictures those with the labels of the chosen model, for events all that take events. */
  get names() {
    if (this.picked) return this.picked;
    const words = state.chosenModel()?.labels.join();
    const fits = ofEvents() ? takesEvents : ({ labels }) => labels.join() === words;
    return new Set(state.models.filter(fits).map(({ name }) => name));
  }

  /** List the models with checkboxes, keeping the keyboard's focus. */
  offer() {
    const { names } = this, focused = $("compare-models").querySelector(":focus")?.value;
    $("compare-models").replaceChildren(...this.models.map((model) => {
      const box = element("input", { type: "checkbox", value: model.name, checked: names.has(model.name) });
      box.addEventListener("change", () => this.pick());
      return element("label", { className: "chip", title: `${model.name}: ${originOf(model)}` }, box, titleOf(model));
    }));
    $("compare-models").querySelector(`[value="${focused}"]`)?.focus();
  }

  pick() {
    this.picked = new Set(Array.from($("compare-models").querySelectorAll(":checked"), ({ value }) => value));
    const { again } = this;
    this.close();
    this.clear();
    again?.();
  }

  // ---- interface of all modes for sources

  clear() {
    this.offer();
    this.columns = this.models.filter(({ name }) => this.names.has(name)).map((model) => new Column(model));
    this.follow = true;
    $("columns").replaceChildren(...this.columns.map(({ root }) => root));
    $("compare-none").hidden = this.columns.length > 0;
    $("events-pane").hidden = state.source !== "none";
    this.events.clear();
    this.show();
  }

  close() {
    this.round++;
    for (const { stream } of this.streams) stream.close();
    if (this.rounds) this.rounds.closed = true;
    this.streams = [];
    this.rounds = this.again = null;
    $("events-pane").hidden = false;
    showBoxes(null);
    tell("idle");
  }

  /** Start on a camera's frames, a recording's packets, or (`source`) a camera of the server. */
  open({ width, height, source }) {
    this.again = () => this.open({ width, height, source });
    const frames = state.framed();
    const takes = ({ model }) => takesEvents(model);
    const streaming = this.columns.filter(takes), others = this.columns.filter((column) => !takes(column));
    this.events.resize(width, height);
    this.streams = streaming.map((column, i) => new Streaming(column, {
      token: state.token(),
      look: source ? { source, live: true } : { width, height },
      events: i === 0 ? this.events : null,
      opened: () => { tell("live"); this.opened(); },
    }));
    $("events-pane").hidden = !streaming.length;
    this.rounds = new Rounds(frames ? others : [], state.token());
    if (frames && !streaming.length) tell("live");
    if (!frames) for (const column of others) column.say(IMAGES_ONLY);
  }

  /** Those that the server has not refused: these must not hold up the others. */
  get living() {
    return this.streams.filter(({ stream }) => stream.hello);
  }

  get ready() {
    return this.living.some(({ stream }) => stream.ready);
  }

  /** Whether all streams can take a packet: the slowest sets the pace, except while it reconnects. */
  get free() {
    return this.ready && this.living.every(({ stream }) => !stream.ready || stream.free);
  }

  async frame(captureMs, jpeg) {
    const { rounds } = this;
    let made = null;
    const once = () => (made ??= jpeg());
    for (const one of this.living) one.frame(captureMs, once);
    if (!rounds?.free) return;
    const bytes = await once();
    if (!bytes || rounds !== this.rounds || !rounds.free) return;
    const good = await rounds.look(new File([bytes], "frame.jpg", { type: "image/jpeg" }));
    if (!this.streams.length && rounds === this.rounds) tell(good ? "live" : "retrying");
  }

  packet(nowMs, bytes) {
    for (const one of this.living) one.packet(nowMs, bytes);
  }

  command(text) {
    for (const { stream } of this.living) stream.command(text);
  }

  /** Classify an image or a recording by each model; return the event models' input for a recording, to show it. */
  async file(file) {
    const round = ++this.round;
    this.again = () => this.file(file);
    await ask(this.columns, file, state.token(), () => { this.show(); return round !== this.round; });
    this.show();
    const taker = this.columns.find(({ model }) => takesEvents(model));
    if (!taker || file.type.startsWith("image/")) return null;
    return new SpikeTrain(await server.encode(file, taker.model.name, "dvs", 16, false, state.token()));
  }

  draw(nowMs) {
    this.events.draw(nowMs, state.paused || state.source === "file" || !this.streams.length);
    this.speaker.say(this.said, nowMs);
    showBoxes(this.columns.find(({ objects }) => objects)?.objects); // of the first model that finds any
    if (state.source === "file" || nowMs - this.drawnMs < DRAW_MS) return;
    this.drawnMs = nowMs;
    this.show();
    if (this.ready) tell(this.columns.some(({ slow }) => slow) ? "late" : "live");
  }

  /** Show all columns after the number of steps that the slider says. */
  show() {
    const slider = $("compare-at"), { columns } = this, longest = Math.max(1, ...columns.map(({ streaming, steps }) => (streaming ? 0 : steps.length))); // of the slider
    slider.max = String(longest);
    if (this.follow) slider.value = slider.max;
    const at = Number(slider.value);
    $("compare-steps").hidden = longest < 2;
    $("compare-at-value").textContent = `${at} / ${longest}`;
    const sums = columns.map((column) => column.after(at));
    const ann = columns.findIndex(({ model, ready }) => model.origin === "ann" && ready);
    const macs = ann < 0 ? null : sums[ann].synops;
    const most = Math.max(1, ...sums.map((sum) => sum?.synops ?? 0));
    for (const column of columns) column.draw(at, column.model.contract.kind === "image" ? macs : null, most, performance.now());
    this.said = columns.flatMap((column, i) => (sums[i] ? [`${originOf(column.model)}: ${column.slow || column.said(sums[i])}`] : [])).join(". ");
  }
}
