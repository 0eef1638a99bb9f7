// A shipped recording as a source: played in a loop, at the chosen speed, step by step while paused.

import { $ } from "../../shared/dom.js";
import { drawExposure } from "../../shared/longexposure.js";
import { hideNotice, notice } from "../../shared/notice.js";
import { Player } from "../../shared/player.js";
import * as server from "../net/server.js";
import { arrange } from "../panel/layout.js";
import * as state from "../state.js";

const EVERY_MS = 25;
const STEP_US = 10_000;

export class Playback {
  /** preview: a CalmPicture; looker(): who takes packets now; stop() ends whatever runs. */
  constructor(preview, looker, stop) {
    Object.assign(this, { preview, looker, stop });
    this.player = null;
    this.playedMs = 0;
    setInterval(() => this.tick(performance.now()), EVERY_MS);
  }

  async start(item) {
    this.stop();
    hideNotice();
    chooseFor(item.label);
    try {
      const bytes = await server.sample(item.name, state.token());
      arrange("sample", { title: "Recording", note: `${item.label} · long exposure`, name: item.name });
      this.looker().clear();
      state.setInput(item);
      this.player = new Player(bytes, item.duration_us);
      $("speed").value = item.duration_us < 500_000 ? "0.25" : "0.5";
      drawExposure(this.preview, bytes, item);
      this.looker().open(item);
      $("stop").focus();
    } catch (error) {
      notice("The recording did not load.", error.message);
    }
  }

  tick(nowMs) {
    if (this.player && this.looker().ready && !state.paused) this.play(nowMs);
    else this.playedMs = nowMs;
  }

  /** Send what became due; a busy stream only makes the next packet longer. */
  play(nowMs, us = (nowMs - this.playedMs) * 1000 * Number($("speed").value)) {
    const looker = this.looker();
    if (!looker.free) return;
    this.playedMs = nowMs;
    const { packet, restarted } = this.player.advance(us);
    if (restarted) looker.command({ type: "reset" });
    if (packet) looker.packet(nowMs, packet);
  }

  step() {
    this.play(performance.now(), STEP_US);
  }

  close() {
    this.player = null;
  }
}

/** A recording of a digit wants a model of digits: the first event model that knows a word of its label, unless the chosen one does. */
function chooseFor(label) {
  const words = label.split(/\W+/);
  const knows = (model) => model?.contract.kind === "events" && model.labels.some((name) => words.includes(name));
  const better = state.models.find(knows);
  if (!knows(state.chosenModel()) && better) $("model").value = better.name;
}
