// A sheet of paper: drawn on by mouse, pen or finger, or filled with a digit by a button.

import { cssVariable } from "../../shared/dom.js";

const PAPER = cssVariable("--paper"), INK = cssVariable("--pen");
const PEN = 0.085; // of the sheet's height

/** The ten digits as strokes through points of the unit square, for users without a pen. */
const DIGITS = [
  [[[0.5, 0.05], [0.3, 0.1], [0.17, 0.32], [0.17, 0.64], [0.3, 0.88], [0.5, 0.95], [0.7, 0.88], [0.83, 0.64], [0.83, 0.32], [0.7, 0.1], [0.5, 0.05]]],
  [[[0.32, 0.26], [0.56, 0.06]], [[0.56, 0.06], [0.54, 0.5], [0.5, 0.94]]],
  [[[0.2, 0.26], [0.4, 0.07], [0.72, 0.12], [0.78, 0.36], [0.5, 0.66], [0.18, 0.9]], [[0.18, 0.9], [0.84, 0.88]]],
  [[[0.2, 0.16], [0.5, 0.05], [0.78, 0.2], [0.66, 0.42], [0.42, 0.47]], [[0.42, 0.47], [0.74, 0.56], [0.8, 0.8], [0.5, 0.95], [0.18, 0.84]]],
  [[[0.36, 0.08], [0.24, 0.34], [0.2, 0.56]], [[0.2, 0.56], [0.82, 0.54]], [[0.72, 0.1], [0.68, 0.5], [0.64, 0.94]]],
  [[[0.8, 0.08], [0.3, 0.1]], [[0.3, 0.1], [0.24, 0.44], [0.56, 0.42], [0.8, 0.62], [0.68, 0.88], [0.4, 0.94], [0.18, 0.84]]],
  [[[0.7, 0.06], [0.4, 0.28], [0.22, 0.62], [0.32, 0.88], [0.56, 0.94], [0.77, 0.78], [0.66, 0.57], [0.42, 0.57], [0.25, 0.74]]],
  [[[0.16, 0.12], [0.84, 0.1]], [[0.84, 0.1], [0.62, 0.46], [0.44, 0.94]]],
  [[[0.72, 0.18], [0.5, 0.05], [0.28, 0.18], [0.36, 0.38], [0.66, 0.58], [0.77, 0.78], [0.5, 0.95], [0.23, 0.8], [0.36, 0.56], [0.64, 0.38], [0.72, 0.18]]],
  [[[0.76, 0.24], [0.52, 0.06], [0.26, 0.2], [0.3, 0.44], [0.56, 0.5], [0.74, 0.36], [0.76, 0.24]], [[0.76, 0.24], [0.72, 0.6], [0.6, 0.94]]],
];

export class Sketchpad {
  /** changed() is called after each stroke and each written digit. */
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, at: null });
    this.context = canvas.getContext("2d", { alpha: false });
    this.clear();
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.at && this.go(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => this.end());
  }

  clear() {
    const { context, canvas } = this;
    context.fillStyle = PAPER;
    context.fillRect(0, 0, canvas.width, canvas.height);
  }

  /** The pointer's position on the sheet, independent of the size at which it is shown. */
  place({ clientX, clientY }) {
    const { canvas } = this, box = canvas.getBoundingClientRect();
    const scale = Math.max(canvas.width / box.width, canvas.height / box.height); // object-fit: contain
    return [canvas.width / 2 + (clientX - box.left - box.width / 2) * scale, canvas.height / 2 + (clientY - box.top - box.height / 2) * scale];
  }

  begin(event) {
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.go(event);
  }

  go(event) {
    const next = this.place(event);
    this.line(this.at ?? next, next);
    this.at = next;
  }

  end() {
    if (!this.at) return;
    this.at = null;
    this.changed();
  }

  line(...points) {
    const { context, canvas } = this;
    context.strokeStyle = INK;
    context.lineWidth = PEN * canvas.height;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...points[0]);
    for (let i = 1; i < points.length - 1; i++) context.quadraticCurveTo(...points[i], (points[i][0] + points[i + 1][0]) / 2, (points[i][1] + points[i + 1][1]) / 2);
    context.lineTo(...points.at(-1));
    context.stroke();
  }

  write(digit) {
    this.clear();
    const { width, height } = this.canvas, side = 0.72 * height;
    for (const stroke of DIGITS[digit]) this.line(...stroke.map(([x, y]) => [width / 2 + (x - 0.5) * 0.8 * side, height / 2 + (y - 0.5) * side]));
    this.changed();
  }

  file() {
    return new Promise((resolve) => this.canvas.toBlob((blob) => resolve(new File([blob], "drawing.png", { type: "image/png" })), "image/png"));
  }
}
