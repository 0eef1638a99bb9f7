// The connection's status beside the model, and messages about a lost or refused connection.

import { $ } from "../../shared/dom.js";
import { hideNotice, notice } from "../../shared/notice.js";
import * as state from "../state.js";

const WORDS = { idle: "ready", reading: "reading…", connecting: "connecting…", live: "live", retrying: "reconnecting…", late: "live, overloaded", busy: "server busy", refused: "refused" };

/** Set the status. */
export function pill(status) {
  $("link").dataset.state = status === "late" ? "busy" : status === "reading" ? "idle" : status;
  $("link-text").textContent = WORDS[status];
}

/** Reports a stream's states to the user; stop() ends the source when waiting is of no use. */
export class Connection {
  constructor(stop) {
    this.stop = stop;
    this.wasLive = false;
  }

  opened() {
    this.wasLive = false;
  }

  changed(status, detail = {}) {
    if (state.intro && ["busy", "refused", "retrying"].includes(status)) return this.stop(); // nobody asked for it
    pill(status);
    if (status === "live") {
      this.wasLive = true;
      return hideNotice();
    }
    if (detail.code === 1001) {
      if (state.source !== "server") return undefined; // paused for long: it connects anew
      this.stop();
      return notice("The camera has ended.", "It was unplugged, or its recording is over.");
    }
    if (status === "busy") return notice("The server is busy.", "It has no room for another stream just now; this page keeps trying.");
    if (status === "retrying" && detail.wasReady) return notice("The server is gone.", "Reconnecting by itself as soon as it is back; membranes start anew then.");
    if (status === "retrying" && detail.attempt === 3 && !this.wasLive) return notice("The server does not answer.", "Is it still running? This page keeps trying.");
    if (status === "refused") {
      this.stop();
      pill(status);
      return notice("The server refused the stream.", detail.reason || `It closed with code ${detail.code}.`);
    }
    return undefined;
  }
}
