// The meters: rates over the last second, costs smoothed over a few steps.

import { element } from "../../shared/dom.js";

const WINDOW_MS = 1000; // rates are of a second
const SMOOTH = 0.12;

const METERS = {
  events: "Events", spikes: "Spikes", synops: "Synaptic operations", step: "Step time", latency: "Latency, end to end",
  rate: "Frames answered",
};
const EXPLAINED = {
  synops: "How often a spike reaches a synapse: one addition each", step: "What the server takes for a step of the network",
  latency: "From a frame's capture until its answer is here", rate: "Frames that come faster than the network answers are left out, so that answers are never old",
};

/** 1234567 -> "1.23 M" */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  for (const [limit, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (value >= limit) return `${(value / (unit === "k" ? 1e3 : limit)).toPrecision(3)} ${unit}`;
  }
  return value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toPrecision(2);
}

export class Meters {
  constructor(list) {
    this.cells = Object.fromEntries(Object.entries(METERS).map(([key, title]) => {
      const className = key === "rate" ? "live-only" : "", value = element("dd", { data: { meter: key } });
      list.append(element("div", { className, title: EXPLAINED[key] ?? "" }, element("dt", "", title), value));
      return [key, value];
    }));
    this.clear();
  }

  /** annMacs: multiply-adds of the ANN that is compared; silent: it is an ANN, without spikes. */
  clear(annMacs = 0, silent = false) {
    Object.assign(this, { annMacs, silent, answers: [], bins: [], mean: {} });
    this.clockOffset = 0; // of the messages' times against this page's clock
    Object.keys(METERS).forEach((key) => this.write(key, "–"));
  }

  smooth(key, value) {
    this.mean[key] = this.mean[key] === undefined ? value : this.mean[key] + SMOOTH * (value - this.mean[key]);
  }

  prediction(p, nowMs) {
    this.bins.push({ nowMs, events: p.n_events, us: p.end_us - p.start_us });
    this.smooth("spikes", p.spikes);
    this.smooth("synops", p.synops);
    this.smooth("step", p.step_ms);
  }

  answered(message, nowMs, dropped) {
    this.answers.push({ nowMs, seq: message.seq, dropped: dropped + (message.dropped ?? 0) });
    this.smooth("latency", nowMs + this.clockOffset - message.t);
  }

  draw(nowMs) {
    this.answers = this.answers.filter((item) => nowMs - item.nowMs < WINDOW_MS);
    this.bins = this.bins.filter((item) => nowMs - item.nowMs < WINDOW_MS);
    const [us, events] = ["us", "events"].map((key) => this.bins.reduce((sum, bin) => sum + bin[key], 0));
    if (us) this.write("events", short((1e6 * events) / us), "/s");
    if (this.mean.spikes !== undefined) this.costs(this.mean.spikes, this.mean.synops, "a step");
    if (this.mean.step !== undefined) this.write("step", this.mean.step.toFixed(1), "ms");
    if (this.mean.latency !== undefined) this.write("latency", this.mean.latency.toFixed(0), "ms");
    const dropped = this.answers.length && this.answers.at(-1).dropped - this.answers[0].dropped;
    this.write("rate", String(new Set(this.answers.map(({ seq }) => seq)).size), dropped ? `/s, ${dropped} came too fast` : "/s");
  }

  /** Show the sums of a whole sample. */
  file(result) {
    const us = result.steps.at(-1).end_us - result.steps[0].start_us;
    this.write("events", short(result.n_events), result.n_events ? `in ${(us / 1e6).toFixed(2)} s` : "");
    this.annMacs *= result.objects ? 0 : result.step; // what is looked for in a full frame: in more than the ANN would see
    this.costs(result.spikes, result.synops, `in ${result.step} ${result.step === 1 ? "step" : "steps"}`);
    this.write("step", (result.latency_ms / result.step).toFixed(1), "ms");
    this.write("latency", result.latency_ms.toFixed(0), "ms");
  }

  costs(spikes, synops, unit) {
    this.write("spikes", this.silent ? "none" : short(Math.round(spikes)), this.silent ? "an ANN" : unit);
    const share = this.annMacs ? `${Number(((100 * synops) / this.annMacs).toPrecision(2))} % of an ANN` : "";
    this.write("synops", short(Math.round(synops)), share);
  }

  write(key, text, unit = "") {
    const value = this.cells[key], line = `${text}|${unit}`;
    if (value.dataset.line === line) return;
    value.dataset.line = line;
    value.replaceChildren(text, ...(unit ? [element("small", "", unit)] : []));
  }
}
