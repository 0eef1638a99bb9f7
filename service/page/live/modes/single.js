// One model: a stream or a file, with everything that is shown of the network's activity.

import { Answer, labelsOf, possibleIn, taskOf } from "../../shared/answer.js";
import { $, notice } from "../../shared/dom.js";
import { Stream } from "../net/stream.js";
import { Connection, pill } from "../panel/connection.js";
import * as state from "../state.js";
import { showBoxes } from "../views/roi.js";
import { Meters } from "../views/meters.js";
import { Promised } from "../views/conformal.js";
import { NetworkView } from "../../shared/pictures/network.js";
import { Trace } from "../../shared/pictures/plots.js";
import { opened } from "../../shared/pictures/spikes.js";
import { FileMode } from "./filemode.js";
import { OneStream } from "./onestream.js";

const SILENT_MS = 3000; // without an answer; a recording at a quarter of its speed rests for one second

export class Single extends OneStream {
  /** events: the EventView; stop(): ends the source; opened(): called when a stream is ready. */
  constructor(events, stop, opened) {
    super();
    Object.assign(this, { events, opened });
    this.trace = new Trace($("trace"), $("trace-legend"));
    this.meters = new Meters($("meters"));
    this.answer = new Answer($("answer"));
    this.promised = new Promised($("committed"));
    this.connection = new Connection(stop);
    this.stream = new Stream({
      state: (status, detail) => this.connection.changed(status, detail),
      ready: (message) => this.begin(message),
      prediction: (message) => this.prediction(message),
      answered: (message) => this.answered(message, performance.now()),
      picture: (picture) => state.paused || this.events.add(picture),
      bad: (text) => notice("That frame was not understood.", text),
    });
    this.inside = new NetworkView($("inside"), (probe) => this.probe(probe));
    this.files = new FileMode(this, () => ({ model: $("model").value, token: state.token() }), (error) => notice("What the network gets of this file cannot be shown.", error.message));
    this.latest = null;
  }

  clear() {
    this.latest = null;
    $("advice").textContent = state.framed() ? taskOf(state.chosenModel()?.labels).hint : "";
    this.meters.clear();
    this.meters.annMacs = state.chosenModel()?.ann_macs ?? 0;
    this.meters.silent = state.chosenModel()?.origin === "ann";
    for (const view of [this.answer, this.promised, this.trace, this.inside, this.events]) view.clear();
  }

  close() {
    showBoxes(null);
    this.files.close();
    this.stream.close();
    pill("idle");
  }

  // ---- a stream

  /** Open a stream of frames or events of width x height, or of a camera of the server (source). */
  open({ width, height, source }) {
    this.events.resize(width, height);
    const binMs = state.binMs(); // below: the default model at its own bin reads the camera for all viewers
    const several = state.several();
    const shared = source && !binMs && !several && state.chosenModel() === state.models[0];
    const { probe } = this.inside;
    this.stream.open({ model: shared ? null : $("model").value || null, probe, token: state.token() || undefined, width, height, picture: true, ...(binMs && { bin_ms: binMs }), ...(several && { objects: 8 }), ...(source && { source, live: true }) });
  }

  /** Set whether to probe the network from now on. */
  probe(probe) {
    const { stream } = this;
    if (state.source === "file" && this.files.train) this.files.load(true);
    if (!stream.hello) return;
    stream.hello.probe = probe;
    if (state.source === "server" && !stream.hello.model) stream.open(stream.hello); // that all share takes no messages
    else stream.command({ type: "probe", probe });
  }

  begin(message) {
    this.latest = null;
    this.begun();
    this.answer.setLabels(message.labels);
    this.promised.begin(message.error_rate);
    this.trace.setLabels(message.labels, message.step_us);
    this.inside.setMaps(message.maps, state.chosenModel().contract, message.probe_us);
    if (this.inside.probe !== this.stream.hello.probe) this.probe(this.inside.probe); // changed meanwhile
    $("inside-note").textContent = message.maps.length ? "" : "an ANN: its neurons do not spike";
    this.meters.clear();
    this.meters.annMacs = message.ann_macs;
    this.meters.silent = !message.layers.length;
    this.meters.clockOffset = state.source === "server" ? performance.timeOrigin : 0;
    this.opened();
  }

  answered(message, nowMs) {
    super.answered(message, nowMs);
    this.meters.answered(message, nowMs, this.stream.dropped);
  }

  prediction(message) {
    if (state.paused && state.source !== "sample") return; // a sample's step is shown while it is paused
    this.meters.prediction(message, performance.now());
    if (message.inside) this.inside.push(opened(message.inside), message.reset);
    this.trace.push(message);
    if (message.camera && message.camera !== this.latest?.camera) notice("Another camera.", message.camera);
    this.latest = message;
    this.latestMs = performance.now();
  }

  // ---- a file

  async file(file) {
    await this.files.open(file, state.models);
    return this.files.train;
  }

  // ---- pictures

  draw(nowMs) {
    const { events, trace, inside, answer, meters, promised, latest } = this;
    if (!state.paused && state.source !== "file") events.draw(nowMs);
    else events.lastMs = nowMs;
    trace.draw();
    showBoxes(state.source === "file" ? this.files.objects : latest?.objects);
    inside.draw(nowMs, state.paused, state.source === "sample" ? Number($("speed").value) : 1);
    if (state.source === "file") return;
    meters.draw(nowMs);
    if (!latest) return;
    const { probabilities, steady } = latest, slow = this.tooSlow(nowMs);
    answer.show({ probabilities, steady, possible: possibleIn(latest), things: labelsOf(latest) }, nowMs, slow);
    promised.push(latest);
    if (!this.stream.ready || (!state.paused && nowMs - this.latestMs > SILENT_MS)) answer.fade("from before: nothing new has come");
    if (this.stream.ready) pill(slow ? "late" : "live");
  }

  resized() {
    if (state.source === "file" && this.files.train) this.files.paint(this.files.step);
  }
}
