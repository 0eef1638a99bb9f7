// Send one input to several models at once: a stream for each event model, and single pictures in rounds for the others.

import * as server from "../net/server.js";
import { sentences } from "../panel/connection.js";
import { OneStream, Paced } from "./onestream.js";

const ROUND_MS = 400; // the shortest time between two pictures that image models see
const AFTER_FAILURE_MS = 2000;

/** A stream of one event model that fills the model's column. */
export class Streaming extends OneStream {
  prediction = (message) => this.column.step(message);
  failed = (text) => this.column.say(text);

  /** look: size of the frames or packets, or a camera of the server; parts: as OneStream's, events only where they are shown. */
  constructor(column, { token, look, ...parts }) {
    super(parts);
    this.column = column;
    column.late = (nowMs) => this.tooSlow(nowMs);
    this.stream.open({ model: column.model.name, token: token || undefined, ...look, picture: Boolean(parts.events) });
  }

  begin({ ann_macs: macs }) {
    this.column.clear();
    this.column.stepMacs = macs;
  }

  changed(status, why) {
    const source = this.stream.hello?.source, said = sentences(status, why, source);
    if (status === "connecting") this.column.say("connecting…");
    if (said) this.column.say(said.join(" "));
    if (source && why.code === 1001) this.stream.close();
  }
}

/** Send the latest picture to every image model, one after another so that their times can be compared. */
export class Rounds extends Paced {
  constructor(columns, token) {
    super();
    Object.assign(this, { columns, token, busy: false, closed: false });
    for (const column of columns) column.late = (nowMs) => this.tooSlow(nowMs);
  }

  get free() {
    return this.columns.length > 0 && !this.busy && performance.now() >= this.nextMs;
  }

  /** Resolves to false if the server answered none of the requests. */
  async look(file) {
    this.busy = true;
    const begun = performance.now();
    this.note(begun, true);
    const good = await ask(this.columns, file, this.token, () => this.closed);
    this.answeredMs = begun;
    this.nextMs = good ? begun + ROUND_MS : performance.now() + AFTER_FAILURE_MS;
    this.busy = false;
    return good;
  }
}

/** Classify a file by each column's model; resolves to false if the server answered none. `closed()`: whether to stop. */
export async function ask(columns, file, token, closed) {
  let good = false;
  for (const column of columns) {
    const answer = await server.predict(file, column.model.name, token).catch((error) => error);
    if (closed()) return good;
    if (answer instanceof Error) column.say(answer.message);
    else column.result(answer);
    good ||= !(answer instanceof Error);
  }
  return good;
}
