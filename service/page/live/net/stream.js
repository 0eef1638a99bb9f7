// A live stream of the service: this one file is its client for browsers, with types and without imports.
//
// Hello, at most one message in flight, newest wins, reconnects by itself. docs/service/streams.md has the protocol.

/** What a message holds: an encoded picture (JPEG, PNG, WebP), or t64 events. */
export const KIND = Object.freeze({ image: 0, t64: 1 });

/**
 * @typedef {{ type: "ready", model: string, labels: string[], layers: string[], maps: Layer[],
 *   step_us: number, probe_us: number, steps: number, ann_macs: number, error_rate: number }} Ready
 * @typedef {{ title: string, channels: number, height: number, width: number, thresholds: number[] }} Layer
 * @typedef {{ type: "prediction", seq: number, t: number, step: number, start_us: number, end_us: number, label: string,
 *   top1: string, index: number, probabilities: number[], confidence: number, in_distribution: number | null,
 *   commitment: Commitment | null, n_events: number, spikes: number, layer_spikes: number[], synops: number,
 *   total_spikes: number, total_synops: number, queue_ms: number, step_ms: number, dropped: number, reset: boolean,
 *   logits?: number[], camera?: string | null, objects?: Detected[], inside?: Inside }} Prediction
 * @typedef {{ label: string | null, set: string[], risk: number, shifted: boolean | null, at_us: number | null }} Commitment
 * @typedef {{ input: string, fired: string, membranes: number[] | null }} Inside  with `probe` in hello: base64 of the input's
 *   bytes and of a bit a neuron (docs/service/streams.md), and the membranes at the place that is probed
 * @typedef {boolean | [number, number, number]} Probe  [layer, row, column]: at the membranes of the neurons there, too
 * @typedef {{ id: number, box: [number, number, number, number], label: string, confidence: number, in_distribution: number | null,
 *   commitment: Commitment | null }} Detected  with `objects` in hello, as they are read; box: left, top, width, height in pixels
 * @typedef {{ type: "ack" | "error", seq: number, t?: number, dropped?: number, error?: string }} Ack
 * @typedef {{ seq: number, step: number, width: number, height: number, n: number, pairs: Uint16Array }} Picture
 *   of the latest n events: pairs of x and y, the polarity in y's top bit
 * @typedef {{ model?: string | null, token?: string, width?: number, height?: number, bin_ms?: number, picture?: boolean,
 *   logits?: boolean, error_rate?: number, mode?: "complete" | "freshest",
 *   live?: boolean, source?: string, raw?: boolean,
 *   teaching?: string, objects?: number, probe?: Probe }} Hello
 *   width and height are those of the frames or of the sensor; source is a camera of the service, which needs neither
 * @typedef {"connecting" | "live" | "busy" | "retrying" | "refused"} State
 * @typedef {{ code?: number, reason?: string, wasReady?: boolean, attempt?: number }} Why
 * @typedef {object} Handlers  every one may be left out
 * @property {(state: State, why: Why) => void} [state]
 * @property {(ready: Ready) => void} [ready]  the model's labels and more, at each connection
 * @property {(prediction: Prediction) => void} [prediction]  one step; `label` is the label to show
 * @property {(message: Prediction | Ack) => void} [answered]  any answer to a message
 * @property {(picture: Picture) => void} [picture]
 * @property {(sentence: string) => void} [bad]  a message was not understood
 * @property {(body: any) => void} [teaching]  of a teaching session's stream
 */

const HEADER_BYTES = 16;
const MAX_BUFFERED = 256 * 1024;
const ANSWER_TIMEOUT_MS = 5000;
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
const FOR_GOOD = [1002, 1003, 1007, 1008, 1009]; // a rule was broken: it would be broken again

export class Stream {
  /** @param {Handlers} handlers
   * @param {string | URL} service  its address; without, the service that this file came from */
  constructor(handlers, service = new URL("/", import.meta.url)) {
    this.handlers = handlers;
    this.service = service;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {Hello | null} */
    this.hello = null;
    /** @type {{ seq: number, sent: number } | null} */
    this.inFlight = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.ready = false;
    this.attempt = this.seq = 0;
    this.dropped = 0; // messages of the caller that found no place
  }

  /** Connect, and again whenever the connection is lost. @param {Hello} hello */
  open(hello) {
    this.close();
    this.hello = hello;
    this.attempt = this.seq = this.dropped = 0;
    this.connect();
  }

  connect() {
    this.handlers.state?.(this.attempt ? "retrying" : "connecting", {});
    const address = new URL("/v1/stream", this.service);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.ready = false;
    this.inFlight = null;
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", protocol: 1, ...this.hello }));
    socket.onmessage = (event) => socket === this.socket && this.receive(event.data);
    socket.onclose = (event) => socket === this.socket && this.closed(event);
  }

  /** @param {string | ArrayBuffer} data */
  receive(data) {
    if (typeof data !== "string") return this.handlers.picture?.(parsePicture(data));
    const text = JSON.parse(data);
    if (text.type === "ready") {
      this.ready = true;
      this.attempt = 0;
      this.handlers.state?.("live", {});
      return this.handlers.ready?.(text);
    }
    if (text.type === "teaching") return this.handlers.teaching?.(text);
    if (text.seq !== undefined && text.seq === this.inFlight?.seq) this.inFlight = null;
    if (text.type === "error") this.handlers.bad?.(text.error);
    if (text.type === "prediction") this.handlers.prediction?.(text);
    return this.handlers.answered?.(text);
  }

  /** May the next message go out? A lost answer must not stop the stream for ever. */
  get free() {
    if (!this.ready || this.socket?.readyState !== WebSocket.OPEN || this.socket.bufferedAmount > MAX_BUFFERED) return false;
    return !this.inFlight || performance.now() - this.inFlight.sent > ANSWER_TIMEOUT_MS;
  }

  /** Reserve the one place in flight, for a message that is still to be made; null when it is taken. */
  reserve() {
    if (!this.free) return null;
    this.inFlight = { seq: ++this.seq, sent: performance.now() };
    return this.inFlight.seq;
  }

  /**
   * A message in the place that was reserved for it.
   * @param {number | null} seq
   * @param {number} captureMs
   * @param {number} kind  of KIND
   * @param {Uint8Array | ArrayBuffer} payload
   */
  send(seq, captureMs, kind, payload) {
    if (seq === null || this.inFlight?.seq !== seq || this.socket?.readyState !== WebSocket.OPEN) return;
    this.inFlight.sent = performance.now();
    this.socket.send(message(seq, captureMs, kind, payload));
  }

  /**
   * A message that is there already; false when the last one is not yet answered: show the next one then.
   * @param {number} kind  of KIND
   * @param {Uint8Array | ArrayBuffer} payload
   */
  offer(kind, payload, captureMs = performance.now()) {
    const seq = this.reserve();
    this.send(seq, captureMs, kind, payload);
    return seq !== null;
  }

  /** @param {{ type: "reset" } | { type: "settings", threshold?: number, noise_hz?: number } | { type: "probe", probe: Probe } | { type: "show", class: string | null }} text */
  command(text) {
    if (this.ready && this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(text));
  }

  /** @param {{ code: number, reason: string }} event */
  async closed({ code, reason }) {
    const wasReady = this.ready, { hello } = this;
    this.ready = false;
    this.inFlight = null;
    if (!hello) return;
    if (FOR_GOOD.includes(code)) {
      this.hello = null;
      this.handlers.state?.("refused", { code, reason });
      return;
    }
    // A handshake that is refused looks like a dead server; one that is alive has no room for another stream.
    const busy = code === 1013 || (!wasReady && (await this.alive()));
    if (this.hello !== hello) return;
    const wait = BACKOFF_MS[Math.min(this.attempt, BACKOFF_MS.length - 1)] * (0.8 + 0.4 * Math.random()) * (busy ? 2 : 1);
    this.attempt++;
    this.handlers.state?.(busy ? "busy" : "retrying", { code, reason, wasReady, attempt: this.attempt });
    this.timer = setTimeout(() => this.hello && this.connect(), wait);
  }

  alive() {
    return fetch(new URL("/health/ready", this.service)).then(({ ok }) => ok, () => false);
  }

  close() {
    clearTimeout(this.timer);
    this.socket?.close();
    this.hello = this.socket = this.inFlight = null;
    this.ready = false;
  }
}

/**
 * A message's bytes: seq u32, capture time f64 (ms), kind u8, three zero bytes, then the payload.
 * @param {number} seq
 * @param {number} captureMs
 * @param {number} kind
 * @param {Uint8Array | ArrayBuffer} payload
 */
function message(seq, captureMs, kind, payload) {
  const bytes = new Uint8Array(HEADER_BYTES + payload.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, seq, true);
  view.setFloat64(4, captureMs, true);
  view.setUint8(12, kind);
  bytes.set(payload instanceof Uint8Array ? payload : new Uint8Array(payload), HEADER_BYTES);
  return bytes;
}

/** @param {ArrayBuffer} buffer @returns {Picture} */
function parsePicture(buffer) {
  const view = new DataView(buffer);
  const n = view.getUint32(8, true);
  return {
    seq: view.getUint32(0, true), step: view.getUint32(4, true),
    width: view.getUint16(12, true), height: view.getUint16(14, true), n, pairs: new Uint16Array(buffer, HEADER_BYTES, 2 * n),
  };
}
