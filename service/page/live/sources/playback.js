// A shipped recording as a source: played in a loop at the chosen speed, step by step while paused.

import { $, notice } from "../../shared/dom.js";
import { thumbnail } from "../../shared/pictures/thumbnail.js";
import { Player } from "../../shared/sources/player.js";
import * as server from "../net/server.js";
import { arrange } from "../panel/layout.js";
import { state } from "../state.js";

const EVERY_MS = 25;
const STEP_US = 10_000;

export class Playback {
  /** preview: a CalmPicture; looker(): the mode that takes packets now; stop(): ends the present source. */
  constructor(preview, looker, stop) {
    Object.assign(this, { preview, looker, stop });
    this.player = null;
    this.playedMs = 0;
    setInterval(() => this.tick(performance.now()), EVERY_MS);
  }

  /** intro: plays by itself on the start page, leaving the focus and the model as they are. */
  async start(item, { intro = false } = {}) {
    this.stop(!intro);
    if (!intro) chooseFor(item);
    const visit = (this.visit = {});
    try {
      const bytes = await server.sample(item.name, state.token());
      if (this.visit !== visit || (intro && (state.comparing || state.teaching))) return; // another source or mode by now
      arrange("sample", { input: item, ...(intro ? { title: "Start", intro } : { title: "Recording", note: `${item.label} · long exposure` }) });
      this.looker().clear();
      this.player = new Player(bytes, item.duration_us);
      $("speed").value = item.duration_us < 500_000 ? "0.25" : "0.5";
      this.preview.show(thumbnail(bytes, item), item.width, item.height);
      this.looker().open(item);
      $("events-title").textContent = intro ? `A recording: ${item.label}` : "Events";
      if (!intro) $("stop").focus();
    } catch (error) {
      if (!intro && this.visit === visit) notice("The recording did not load.", error.message);
    }
  }

  tick(nowMs) {
    if (this.player && this.looker().ready && !state.paused) this.play(nowMs);
    else this.playedMs = nowMs;
  }

  /** Send the events that are due; if the stream is busy, the next packet is longer. */
  play(nowMs, us = (nowMs - this.playedMs) * 1000 * Number($("speed").value)) {
    const looker = this.looker();
    if (!looker.free) return;
    this.playedMs = nowMs;
    const packet = this.player.advance(us);
    if (packet) looker.packet(nowMs, packet);
  }

  step() {
    this.play(performance.now(), STEP_US);
  }

  close() {
    this.player = this.visit = null;
  }
}

/** Whether a model takes events and has a class that the recording's label names. */
export function knows(model, { label }) {
  const words = label.split(/\W+/);
  return model?.contract.kind === "events" && model.labels.some((name) => words.includes(name));
}

/** Choose a model that knows the recording's label: the first one, unless the chosen model does. */
function chooseFor(item) {
  const better = state.models.find((model) => knows(model, item));
  if (knows(state.chosenModel(), item) || !better) return;
  $("model").value = better.name;
  $("model").dispatchEvent(new Event("change")); // its settings, and the code
}
