// The connection's status beside the model, and messages about a lost or refused connection.

import { $, hideNotice, notice, sentence } from "../../shared/dom.js";
import * as state from "../state.js";

const WORDS = { idle: "ready", reading: "reading…", connecting: "connecting…", live: "live", retrying: "reconnecting…", late: "live, overloaded", busy: "server busy", refused: "refused" };

/** [title, text] of what a stream's state means to people; null where there is nothing to say. */
export function sentences(status, { code, reason, attempt, wasReady }, source) {
  if (code === 1001) return source ? ["The camera has ended.", "It was unplugged, or its recording is over."] : null; // else paused for long: it connects anew
  if (status === "busy") return ["The server is busy.", "It has no room for another stream just now; this page keeps trying."];
  if (status === "retrying" && wasReady) return ["The server is gone.", "Reconnecting by itself as soon as it is back; it starts anew then."];
  if (status === "retrying" && attempt === 3) return ["The server does not answer.", "Is it still running? This page keeps trying."];
  if (status === "refused") return ["The server refused the stream.", sentence(reason || `it closed with code ${code}: start again`)];
  return null;
}

/** Set the status. */
export function pill(status) {
  $("link").dataset.state = status === "late" ? "busy" : status === "reading" ? "idle" : status;
  $("link-text").textContent = WORDS[status];
}

/** Reports a stream's states to the user; stop() ends the source when waiting is of no use. */
export class Connection {
  constructor(stop) {
    this.stop = stop;
  }

  changed(status, detail = {}) {
    if (state.intro && ["busy", "refused", "retrying"].includes(status)) return this.stop(); // nobody asked for it
    pill(status);
    if (status === "live") return hideNotice();
    const said = sentences(status, detail, state.source === "server");
    if (status === "refused" || (said && detail.code === 1001)) this.stop();
    if (status === "refused") pill(status);
    return said && notice(...said);
  }
}
