// A sheet of paper: drawn on with mouse, pen or finger, or written on by a button.

import { DIGITS } from "./digits.js";

const PAPER = "#f3efe6", INK = "#26303c";
const PEN = 0.085; // of the sheet's height

export class Pad {
  /** changed() is called after each stroke and each written digit. */
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, at: null });
    this.context = canvas.getContext("2d", { alpha: false });
    this.clear();
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.go(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => this.end());
  }

  clear() {
    const { context, canvas } = this;
    context.fillStyle = PAPER;
    context.fillRect(0, 0, canvas.width, canvas.height);
    this.blank = true;
  }

  /** Where the pointer is on the sheet, whatever size it is shown at. */
  place({ clientX, clientY }) {
    const { canvas } = this, box = canvas.getBoundingClientRect();
    const scale = Math.max(canvas.width / box.width, canvas.height / box.height); // object-fit: contain
    return [canvas.width / 2 + (clientX - box.left - box.width / 2) * scale, canvas.height / 2 + (clientY - box.top - box.height / 2) * scale];
  }

  begin(event) {
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.at = this.place(event);
    this.line(this.at, this.at);
  }

  go(event) {
    if (!this.at) return;
    const next = this.place(event);
    this.line(this.at, next);
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
    this.blank = false;
  }

  /** A clean sheet with this digit. */
  write(digit) {
    this.clear();
    const { width, height } = this.canvas, side = 0.72 * height;
    for (const stroke of DIGITS[digit]) this.line(...stroke.map(([x, y]) => [width / 2 + (x - 0.5) * 0.8 * side, height / 2 + (y - 0.5) * side]));
    this.changed();
  }

  /** The sheet as a PNG file. */
  file() {
    return new Promise((resolve) => this.canvas.toBlob((blob) => resolve(new File([blob], "drawing.png", { type: "image/png" })), "image/png"));
  }
}
