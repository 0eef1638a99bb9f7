// One model: a stream or a file, with everything that is shown of the network's activity.

import { Answer, evidenceTitle, foundIn, taskOf } from "../../shared/answer.js";
import { $, notice, write } from "../../shared/dom.js";
import { tell } from "../panel/connection.js";
import { showBoxes } from "../panel/layout.js";
import { state } from "../state.js";
import { Meters } from "../views/meters.js";
import { showCommitment } from "../views/conformal.js";
import { NetworkView } from "../../shared/pictures/network.js";
import { Trace } from "../../shared/pictures/plots.js";
import { opened } from "../../shared/pictures/spikes.js";
import { FileMode, insideNote } from "./filemode.js";
import { OneStream } from "./onestream.js";

const SILENT_MS = 3000; // without an answer; a recording at a quarter of its speed rests for one second

export class Single extends OneStream {
  failed = (text) => notice("That frame was not understood.", text);

  constructor(parts) {
    super(parts);
    this.trace = new Trace($("trace"), $("trace-legend"));
    this.meters = new Meters($("meters"));
    this.answer = new Answer($("answer"));
    this.inside = new NetworkView($("inside"), (probe) => this.probe(probe));
    this.files = new FileMode(this, (error) => notice("What the network gets of this file cannot be shown.", error.message));
    this.latest = null;
  }

  clear() {
    this.latest = null;
    $("advice").textContent = state.framed() ? taskOf(state.chosenModel()?.labels).hint : "";
    this.meters.clear(state.chosenModel()?.ann_macs, state.chosenModel()?.origin === "ann");
    $("committed").hidden = true;
    for (const view of [this.answer, this.trace, this.inside, this.events]) view.clear();
  }

  close() {
    showBoxes(null);
    this.files.close();
    this.stream.close();
    tell("idle");
  }

  /** Open a stream of frames or events of width x height, or of a camera of the server (source). */
  open({ width, height, source }) {
    this.events.resize(width, height);
    const binMs = state.binMs(); // below: the default model at its own bin reads the camera for all viewers
    const several = state.several(), { probe } = this.inside;
    const shared = source && !binMs && !several && state.chosenModel() === state.models[0];
    this.stream.open({ model: shared ? null : $("model").value || null, probe, token: state.token() || undefined, width, height, picture: true, ...(binMs && { bin_ms: binMs }), ...(several && { objects: 8 }), ...(source && { source, live: true }) });
  }

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
    this.answer.setLabels(message.labels);
    this.errorRate = message.error_rate;
    $("committed").hidden = true;
    this.trace.setLabels(message.labels, message.step_us);
    this.inside.setMaps(message.maps, state.chosenModel().contract, message.probe_us);
    if (this.inside.probe !== this.stream.hello.probe) this.probe(this.inside.probe); // changed meanwhile
    $("inside-note").textContent = message.maps.length ? "" : "an ANN: its neurons do not spike";
    this.meters.clear(message.ann_macs, !message.layers.length);
    this.meters.clockOffset = state.source === "server" ? performance.timeOrigin : 0;
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

  async file(file) {
    await this.files.open(file);
    return this.files.train;
  }

  draw(nowMs) {
    const { events, trace, inside, answer, meters, latest } = this;
    events.draw(nowMs, state.paused || state.source === "file");
    trace.draw();
    showBoxes(state.source === "file" ? this.files.objects : latest?.objects);
    write($("trace-title"), evidenceTitle((state.source === "file" ? this.files.result : latest) ?? {}));
    inside.draw(nowMs, state.paused, state.source === "sample" ? Number($("speed").value) : 1);
    if (state.source === "file") return;
    meters.draw(nowMs);
    if (!latest) return;
    if (latest.objects) write($("inside-note"), insideNote(latest));
    const { probabilities, label } = latest, slow = this.tooSlow(nowMs);
    answer.show({ probabilities, label, ...foundIn(latest) }, nowMs, slow);
    showCommitment($("committed"), latest, this.errorRate);
    if (!this.stream.ready || (!state.paused && nowMs - this.latestMs > SILENT_MS)) answer.fade("from before: nothing new has come");
    if (this.stream.ready) tell(slow ? "late" : "live");
  }

  resized() {
    if (state.source === "file" && this.files.train) this.files.paint(this.files.step);
  }
}
