// Record the pictures as a video, or the predictions as lines of JSON; saved by the browser, never uploaded.

import { percent } from "../../shared/answer.js";
import { cssVariable } from "../../shared/dom.js";
import { inWords } from "../../shared/tasks.js";

const SIZE = { width: 960, height: 420 };

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const stamp = () => new Date().toISOString().slice(0, 19).replaceAll(":", "-");

/** Predictions as text, one a line. */
export class LineRecorder {
  constructor() {
    this.lines = [];
  }

  prediction({ seq, t, step, start_us, end_us, label, known, steady, probabilities, n_events, spikes, synops, step_ms }) {
    this.lines.push(JSON.stringify({ seq, t, step, start_us, end_us, label, known, steady, probabilities, n_events, spikes, synops, step_ms }));
  }

  draw() {}

  stop() {
    save(new Blob([this.lines.join("\n"), "\n"], { type: "application/jsonl" }), `spikesight-${stamp()}.jsonl`);
  }
}

/** Source, events and label side by side, as a video. */
export class VideoRecorder {
  constructor(source, events) {
    Object.assign(this, { source, events });
    this.canvas = document.createElement("canvas");
    Object.assign(this.canvas, SIZE);
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.label = "";
    this.parts = [];
    this.draw();
    this.media = new MediaRecorder(this.canvas.captureStream(30), { mimeType: "video/webm" });
    this.media.ondataavailable = (event) => this.parts.push(event.data);
    this.media.onstop = () => save(new Blob(this.parts, { type: "video/webm" }), `spikesight-${stamp()}.webm`);
    this.media.start(1000);
  }

  static get possible() {
    return "MediaRecorder" in window && MediaRecorder.isTypeSupported("video/webm");
  }

  prediction({ steady, probabilities }, labels) {
    const index = labels.indexOf(steady);
    this.label = index < 0 ? inWords(steady, labels) : `${steady}   ${percent(probabilities[index])}`;
  }

  draw() {
    const { context } = this;
    context.fillStyle = cssVariable("--event-ground");
    context.fillRect(0, 0, SIZE.width, SIZE.height);
    for (const [i, view] of [this.source, this.events].entries()) {
      const scale = Math.min(472 / view.width, 354 / view.height);
      const [w, h] = [view.width * scale, view.height * scale];
      context.imageSmoothingEnabled = scale < 3;
      context.drawImage(view, 4 + i * 480 + (472 - w) / 2, 4 + (354 - h) / 2, w, h);
    }
    context.fillStyle = cssVariable("--record-ink");
    context.font = "600 30px system-ui, sans-serif";
    context.fillText(this.label, 16, 400);
  }

  stop() {
    this.media.stop();
  }
}

/** The button that starts one of the recorders and saves the result. */
export class Recording {
  constructor(button, kind, source, events) {
    Object.assign(this, { button, kind, source, events, recorder: null });
    button.addEventListener("click", () => (this.recorder ? this.stop() : this.start()));
  }

  start() {
    const video = this.kind.value === "video" && VideoRecorder.possible;
    this.recorder = video ? new VideoRecorder(this.source, this.events) : new LineRecorder();
    this.label(true);
  }

  prediction(message, labels) {
    this.recorder?.prediction(message, labels);
  }

  draw() {
    this.recorder?.draw();
  }

  stop() {
    this.recorder?.stop();
    this.recorder = null;
    this.label(false);
  }

  label(on) {
    this.button.setAttribute("aria-pressed", String(on));
    this.button.textContent = on ? "Stop and save" : "Record";
  }
}
