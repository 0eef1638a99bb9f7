// A dropped image or recording: the answer, and the spike train step by step.

import { foundIn } from "../../shared/answer.js";
import { $, on } from "../../shared/dom.js";
import * as server from "../net/server.js";
import { state } from "../state.js";
import { opened } from "../../shared/pictures/spikes.js";
import { short } from "../views/meters.js";
import { SpikeTrain } from "../views/spiketrain.js";

/** What of several objects the pane inside the network shows. */
export const insideNote = ({ objects }) => (objects?.length > 1 ? "the likeliest object of each step" : "");

export class FileMode {
  /** views: {answer, trace, inside, meters}; fail(error). */
  constructor({ answer, trace, inside, meters }, fail) {
    Object.assign(this, { answer, trace, inside, meters, fail });
    this.round = 0; // answers to questions of an earlier round are late and dropped
    on("encoding", "change", () => this.load());
    on("steps", "input", () => ($("steps-value").textContent = $("steps").value));
    on("steps", "change", () => this.load());
    on("at", "input", () => this.show(Number($("at").value) - 1));
  }

  async open(file) {
    const round = ++this.round, contract = state.chosenModel()?.contract ?? {};
    this.asked = null;
    this.file = file;
    const { encodings, max_steps: most } = await server.encodings(state.token());
    const result = await server.predict(file, $("model").value, state.token());
    if (round !== this.round) return;
    Object.assign(this, { result, contract });
    this.showResult();
    const still = result.kind === "image";
    const codes = still ? encodings : ["dvs"];
    $("encoding").replaceChildren(...codes.map((name) => new Option(name === "dvs" ? "dvs (events)" : name, name)));
    $("encoding").value = contract.kind === "events" || !codes.includes(contract.encoding) ? "dvs" : contract.encoding;
    $("steps").max = String(most);
    $("steps").value = $("steps-value").textContent = String(contract.kind === "events" ? 16 : Math.min(most, contract.steps ?? 16));
    await this.load();
  }

  close() {
    this.round++;
    this.train = this.result = this.asked = null;
    $("events-legend").hidden = false;
    $("train-controls").hidden = $("train-note").hidden = true;
  }

  /** What was found, once its picture is drawn. */
  get objects() {
    return this.train && this.result.objects;
  }

  showResult() {
    const { result, answer, trace, meters } = this;
    const labels = Object.keys(result.probabilities);
    answer.setLabels(labels);
    answer.show({ probabilities: Object.values(result.probabilities), label: result.label, ...foundIn(result) }, performance.now());
    trace.setLabels(labels);
    trace.show(result.steps);
    meters.file(result);
  }

  /** Load the spike train; again: keep the present step. */
  async load(again = false) {
    const asked = (this.asked = {}); // an answer to an earlier choice of code or steps is late and dropped
    try {
      const body = await server.encode(this.file, $("model").value, $("encoding").value, $("steps").value, this.inside.probe, state.token());
      if (this.asked !== asked) return;
      this.train = new SpikeTrain(body);
    } catch (error) {
      if (this.asked === asked) this.fail(error);
      return;
    }
    const { train } = this;
    $("steps").parentElement.hidden = $("encoding").value === "dvs"; // as many as the recording has
    $("train-controls").hidden = false;
    $("at").max = String(train.steps);
    $("train-note").hidden = !train.note;
    $("train-note").textContent = train.note ? `${train.note}.` : "";
    this.inside.setMaps(train.maps ?? [], this.contract, train.answers?.[0].end_us - train.answers?.[0].start_us || 1);
    if (train.inside) this.inside.show(train.inside.map(opened));
    const input = train.values === "intensity" ? "the input: the same value at every step" : `the input: ${short(train.n_spikes)} spikes in ${train.steps} steps, each row a pixel`;
    $("inside-note").textContent = train.inside ? insideNote(this.result) : input;
    if (train.answers) this.trace.show(train.answers);
    $("events-legend").hidden = train.channels !== 2;
    this.paint(again ? this.step : train.busiest);
  }

  /** Show one step: the frame, and the model's answer after it. */
  show(step) {
    const { train } = this;
    if (!train) return;
    this.paint(step);
    this.trace.point(train.answers ? step : null);
    const said = train.answers?.[step];
    if (said) this.answer.show({ probabilities: said.probabilities, label: said.label, objects: foundIn(said).objects }, performance.now());
  }

  /** Draw only the frame of a step, while the final answer stays. */
  paint(step) {
    const { train } = this;
    this.step = step;
    $("at").value = String(step + 1);
    $("at-value").textContent = `${step + 1} / ${train.steps}`;
    train.draw($("events"), step);
    if (train.inside) this.inside.point(step);
    else train.drawRaster($("raster"), step);
  }
}
