// One WebSocket stream: hello, at most one message in flight, newest wins, reconnects by itself.

import { message, parsePicture } from "../../shared/sources/wire.js";

const MAX_BUFFERED = 256 * 1024;
const ANSWER_TIMEOUT_MS = 5000;
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];

export class Stream {
  /** handlers: state(name, detail), ready(message), prediction(message), answered(message), picture(picture), bad(text); of a lesson also lesson(body) */
  constructor(handlers) {
    this.handlers = handlers;
    this.socket = null;
    this.hello = null;
    this.dropped = 0;
    this.refusals = 0;
  }

  open(hello) {
    this.close();
    this.hello = { type: "hello", protocol: 1, ...hello };
    this.attempt = 0;
    this.refusals = 0;
    this.seq = 0;
    this.dropped = 0;
    this.connect();
  }

  connect() {
    this.handlers.state(this.attempt ? "retrying" : "connecting");
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/stream`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.ready = false;
    this.inFlight = null;
    socket.onopen = () => socket.send(JSON.stringify(this.hello));
    socket.onmessage = (event) => socket === this.socket && this.receive(event.data);
    socket.onclose = (event) => socket === this.socket && this.closed(event);
  }

  receive(data) {
    if (typeof data !== "string") return this.handlers.picture(parsePicture(data));
    const text = JSON.parse(data);
    if (text.type === "ready") {
      this.ready = true;
      this.attempt = 0;
      this.handlers.state("live");
      this.handlers.ready(text);
      return undefined;
    }
    if (text.type === "lesson") return this.handlers.lesson(text);
    if (text.seq !== undefined && text.seq === this.inFlight?.seq) this.inFlight = null;
    if (text.type === "error") this.handlers.bad(text.error);
    if (text.type === "prediction") this.handlers.prediction(text);
    return this.handlers.answered(text);
  }

  /** May the next message go out? A lost answer must not stop the stream for ever. */
  get free() {
    if (!this.ready || this.socket.readyState !== WebSocket.OPEN || this.socket.bufferedAmount > MAX_BUFFERED) return false;
    return !this.inFlight || performance.now() - this.inFlight.sent > ANSWER_TIMEOUT_MS;
  }

  /** Reserve the one place in flight; null when it is taken (the caller drops or waits). */
  reserve() {
    if (!this.free) return null;
    this.inFlight = { seq: ++this.seq, sent: performance.now() };
    return this.inFlight.seq;
  }

  send(seq, captureMs, kind, payload) {
    if (this.inFlight?.seq !== seq || this.socket.readyState !== WebSocket.OPEN) return;
    this.inFlight.sent = performance.now();
    this.socket.send(message(seq, captureMs, kind, payload));
  }

  command(text) {
    if (this.ready && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(text));
  }

  async closed({ code, reason }) {
    const wasReady = this.ready, { hello } = this;
    this.ready = false;
    this.inFlight = null;
    if (!hello) return;
    if ([1002, 1003, 1007, 1008, 1009].includes(code)) {
      this.hello = null;
      this.handlers.state("refused", { code, reason });
      return;
    }
    // A handshake that is refused looks like a dead server; one that is alive has no room for another stream.
    const busy = code === 1013 || (!wasReady && (await alive()));
    if (this.hello !== hello) return;
    const wait = BACKOFF_MS[Math.min(this.attempt, BACKOFF_MS.length - 1)] * (0.8 + 0.4 * Math.random()) * (busy ? 2 : 1);
    this.attempt++;
    this.handlers.state(busy ? "busy" : "retrying", { code, reason, wasReady, attempt: this.attempt });
    this.timer = setTimeout(() => this.hello && this.connect(), wait);
  }

  close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.hello = null;
    this.socket = null;
    this.ready = false;
    this.inFlight = null;
    socket?.close();
  }
}

const alive = () => fetch("health/ready").then(({ ok }) => ok, () => false);
