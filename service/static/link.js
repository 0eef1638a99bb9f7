// The pill beside the model, and what a lost or refused connection means to people.

import { hideNotice, notice } from "./notice.js";
import { $, page } from "./page.js";

const WORDS = { idle: "ready", reading: "reading…", connecting: "connecting…", live: "live", retrying: "reconnecting…", late: "live, overloaded", busy: "server busy", refused: "refused" };

/** The pill alone. */
export function pill(state) {
  $("link").dataset.state = state === "late" ? "busy" : state === "reading" ? "idle" : state;
  $("link-text").textContent = WORDS[state];
}

/** Tells people of a stream's states; stop() ends the source when there is nothing to wait for. */
export class Link {
  constructor(stop) {
    this.stop = stop;
    this.wasLive = false;
  }

  opened() {
    this.wasLive = false;
  }

  state(state, detail = {}) {
    pill(state);
    if (state === "live") {
      this.wasLive = true;
      return hideNotice();
    }
    if (detail.code === 1001) {
      if (page.source !== "server") return undefined; // paused for long: it connects anew
      this.stop();
      return notice("The camera has ended.", "It was unplugged, or its recording is over.");
    }
    if (state === "busy") return notice("The server is busy.", "It has no room for another stream just now; this page keeps trying.");
    if (state === "retrying" && detail.wasReady) return notice("The server is gone.", "Reconnecting by itself as soon as it is back; membranes start anew then.");
    if (state === "retrying" && detail.attempt === 3 && !this.wasLive) return notice("The server does not answer.", "Is it still running? This page keeps trying.");
    if (state === "refused") {
      this.stop();
      pill(state);
      return notice("The server refused the stream.", detail.reason || `It closed with code ${detail.code}.`);
    }
    return undefined;
  }
}
