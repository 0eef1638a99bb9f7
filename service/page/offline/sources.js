// A picture as a source of camera frames: moved before the emulated camera.

import { FRAME } from "../shared/sources/camera.js";
import { luma } from "./frames.js";

const SENSOR = 34; // N-MNIST's side in pixels: sizes and ways below are in its units
const PICTURE = 28 / SENSOR, DIGIT = 20 / SENSOR; // the longer side, of the frame's height
const SIDE_MS = 103; // of each side of the triangle along which a picture is moved, as N-MNIST's camera was
const CORNERS = [[3.3, 1.5], [0.9, -4.5], [-2.9, 1.9]].map(way => way.map(side => side / SENSOR)); // encoders/emulator/saccades.py's, turned round: there the ink is dark
const EVERY_MS = 10; // fine steps: the emulator interpolates along straight lines

/** [x, y] offset of a picture from the middle, in frame heights: each side of the path at a speed of 1 - cos. */
function place(ms) {
  const side = ms / SIDE_MS, from = CORNERS[Math.floor(side) % 3], to = CORNERS[(Math.floor(side) + 1) % 3];
  const part = (side % 1) - Math.sin(2 * Math.PI * side) / (2 * Math.PI);
  return from.map((start, axis) => start + (to[axis] - start) * part);
}

/** A picture moved along a triangle, on a ground of its corner's colour, or for `still` "digit" as light ink on black; where a network looks all over the frames, held
 * still. */
export class Still {
  constructor() {
    this.canvas = document.createElement("canvas");
    Object.assign(this.canvas, FRAME);
    this.context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.timer = this.visit = null;
  }

  /** Resolves to false if it was stopped meanwhile. */
  async open(file, onFrame, facts) {
    this.stop();
    const visit = (this.visit = {}), image = await createImageBitmap(file);
    if (this.visit !== visit) return false;
    this.rests = Boolean(facts.view); // frames are moved then
    this.show(image, !this.rests && facts.contract.still === "digit");
    let ms = performance.now(); // a clock of its own: a slow machine shows it slowly, with the same steps
    this.timer = setInterval(() => {
      this.draw(ms);
      onFrame(this.canvas, ms);
      ms += EVERY_MS;
    }, EVERY_MS);
    return true;
  }

  show(image, drawing) {
    const [picture, share] = drawing ? [ink(image), DIGIT] : [image, PICTURE];
    const scale = (share * FRAME.height) / Math.max(picture.width, picture.height);
    this.size = [picture.width * scale, picture.height * scale];
    this.picture = picture;
    this.context.drawImage(picture, 0, 0, FRAME.width, FRAME.height);
    const [r, g, b] = drawing ? [0, 0, 0] : this.context.getImageData(0, 0, 1, 1).data;
    this.ground = `rgb(${r} ${g} ${b})`;
  }

  draw(ms) {
    const [x, y] = this.rests ? [0, 0] : place(ms), [width, height] = this.size;
    this.context.fillStyle = this.ground;
    this.context.fillRect(0, 0, FRAME.width, FRAME.height);
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(this.picture, (FRAME.width - width) / 2 + x * FRAME.height, (FRAME.height - height) / 2 + y * FRAME.height, width, height);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = this.visit = null;
  }
}

const INK_SIDE = 280; // large pictures are brought to this before the ink is looked for
const INK = 64; // grey above which it is ink

/** The drawing in a picture, light on black, cut to its bounding box: fit_digit of encoders/preprocess. */
export function ink(image) {
  const scale = Math.min(1, INK_SIDE / Math.max(image.width, image.height));
  const width = Math.max(1, Math.round(image.width * scale)), height = Math.max(1, Math.round(image.height * scale));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height);
  const grey = Float32Array.from(luma(pixels.data));
  const onBorder = grey.filter((_, i) => i < width || i >= grey.length - width || i % width === 0 || i % width === width - 1).sort();
  const border = onBorder[onBorder.length >> 1];
  const sign = border > grey.reduce((sum, value) => sum + value, 0) / grey.length ? -1 : 1; // dark ink on light paper
  const light = grey.map((value) => Math.max(0, sign * (value - border)));
  const gain = 255 / Math.max(1, light.reduce((most, value) => Math.max(most, value), 0));
  let [left, right, top, bottom] = [width, 0, height, 0];
  light.forEach((value, i) => {
    pixels.data.fill(value * gain, 4 * i, 4 * i + 3);
    if (value * gain <= INK) return;
    const x = i % width, y = Math.floor(i / width);
    [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
  });
  context.putImageData(pixels, 0, 0);
  if (right < left) return canvas;
  const cut = new OffscreenCanvas(right - left + 1, bottom - top + 1);
  cut.getContext("2d", { alpha: false }).drawImage(canvas, -left, -top);
  return cut;
}
