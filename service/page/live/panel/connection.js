// The connection's status beside the model, and messages about a lost or refused connection.

import { hideNotice, notice, pill, sentence } from "../../shared/dom.js";
import { state } from "../state.js";

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

const KINDS = { late: "busy", reading: "idle" };

export const tell = (status) => pill(KINDS[status] ?? status, WORDS[status]);

/** Report a stream's state to the user; stop() ends the source when waiting is of no use. */
export function report(status, detail, stop) {
  if (state.intro && ["busy", "refused", "retrying"].includes(status)) return stop(); // nobody asked for it
  tell(status);
  if (status === "live") return hideNotice();
  const said = sentences(status, detail, state.source === "server");
  if (status === "refused" || (said && detail.code === 1001)) stop();
  if (status === "refused") tell(status);
  return said && notice(...said);
}
