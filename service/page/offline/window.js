// Turn a camera's frames into events of a small sensor that follows the drawing: encoders/roi/frame_tracker.py, with the same
// names. The drawing is found in every frame, scaled and centred, averaged, and moved before a pixel model.

import { candidatesIn, overlap } from "./drawing.js";
import { Emulator, emptyEvents } from "./emulator.js";
import { distances, Inks, resized, round } from "./pictures.js";

const STEP_US = 4000, LONGEST_US = 500_000, CLEAR = 0.5, SHARE = 20 / 34;
const LINKED = 0.6, ALIKE = 0.6, FRESH = 0.3, FORGOTTEN_US = 1_000_000, STEADY = 0.4, LASTING = 0.1; // roi/tracks.py
const BELL = Array.from({ length: 9 }, (_, i) => Math.exp(-((i - 4) ** 2) / 2)), FORM_TAPS = BELL.map((value) => value / BELL.reduce((a, b) => a + b));
const SIDE = 28, BOX = 20, THIN = 0.09, SOLID = 96; // preprocess/fit.py
const f32 = Math.fround;

export class FrameTracker {
  /** facts: "tracker" of model.json; pixels: parameters of an Emulator; engine: exports of the engine's module. */
  constructor({ path, floor, taps }, pixels, engine) {
    Object.assign(this, { path, floor, taps, size: { width: pixels.width, height: pixels.height } });
    this.emulator = new Emulator(pixels);
    this.inks = new Inks(engine);
    this.unit = Math.min(pixels.width, pixels.height) / 34;
    this.track = new Track();
    this.tUs = null;
  }

  /** The window around the drawing, {left, top, side} in pixels of the frame; null if there is none. */
  get window() {
    const { box } = this.track;
    if (!box) return null;
    const side = Math.max(box.width, box.height, 1) / SHARE;
    return { left: box.left + (box.width - side) / 2, top: box.top + (box.height - side) / 2, side };
  }

  /** The events between the previous frame and this one (RGBA pixels); none without a drawing. */
  push(rgba, width, height, tUs) {
    const { track, emulator, tUs: last } = this, goesOn = last !== null && tUs > last && tUs - last <= LONGEST_US;
    const start = goesOn ? last : tUs - STEP_US;
    this.tUs = tUs;
    if (!goesOn) track.forget(), emulator.forget();
    track.anew = false;
    track.update(candidatesIn(rgba, width, height, this.inks).map((one) => ({ ...one, small: centred(one) })), tUs);
    if (!track.box) {
      emulator.forget();
      return emptyEvents();
    }
    const light = this.light(), parts = [];
    if (track.anew && emulator.tUs !== null) emulator.begin(this.view(light, start), emulator.tUs);
    for (let t = (Math.floor(start / STEP_US) + 1) * STEP_US; t <= tUs; t += STEP_US) parts.push(emulator.push(this.view(light, t), t));
    return joined(parts);
  }

  /** Draw dark ink on a bright screen with some stray light, seen through the lens. */
  light() {
    const bright = this.track.ink.map((ink) => f32(f32(255 - ink) + this.floor) * f32(255 / (255 + this.floor)));
    const side = round(SIDE * this.unit), sized = side === SIDE ? bright : resized(bright, SIDE, SIDE, side, side, side < SIDE);
    const across = blur(sized, side, this.taps, 1, side);
    return { side, data: blur(across, side, this.taps, side, 1) };
  }

  /** The frame, bytes [H, W], as the moved sensor sees it at a time, interpolated between four pixels. */
  view({ side, data }, tUs) {
    const { width, height } = this.size, at = Math.floor(tUs / 1000) % this.path[0].length, out = new Uint8Array(width * height);
    const [left, top] = [width, height].map((length, axis) => -f32(this.path[axis][at] + (length - 34 * this.unit) / 2));
    const pixel = (row, column) => (row >= 0 && row < side && column >= 0 && column < side ? data[row * side + column] : 255);
    for (let i = 0; i < out.length; i++) {
      const x = f32((i % width) + left), y = f32(Math.floor(i / width) + top), column = Math.floor(x), row = Math.floor(y);
      const across = (line) => f32(pixel(line, column) + f32(x - column) * f32(pixel(line, column + 1) - pixel(line, column)));
      const above = across(row);
      out[i] = f32(above + f32(y - row) * f32(across(row + 1) - above));
    }
    return out;
  }
}

/** Filter rows, or columns, of a square with a symmetric kernel, mirrored at the border. */
function blur(data, side, taps, step, next) {
  const reach = taps.length >> 1, mirror = (at) => (at < 0 ? -at : at >= side ? 2 * side - 2 - at : at);
  return data.map((_, place) => {
    const line = Math.floor(place / next) % side, at = Math.floor(place / step) % side;
    return taps.reduce((sum, tap, i) => sum + tap * data[line * next + mirror(at + i - reach) * step], 0);
  });
}

function joined(parts) {
  const all = emptyEvents(parts.reduce((sum, { n }) => sum + n, 0));
  let at = 0;
  for (const part of parts) {
    for (const key of ["t", "x", "y", "p"]) all[key].set(part[key], at);
    at += part.n;
  }
  return all;
}

/** The drawing in time: it stays where it was found last (roi/tracks.py, of one place). */
class Track {
  box = null; // {left, top, width, height}; null where there is no drawing

  forget() {
    this.box = null;
  }

  /** Take what is in a frame, the likeliest first. */
  update(found, tUs) {
    const own = this.box && this.linked(found);
    if (own) this.see(own, tUs);
    else if (this.box && Math.abs(tUs - this.seenUs) > Math.min(Math.abs(this.seenUs - this.beganUs), FORGOTTEN_US)) this.forget();
    const other = found.find((one) => one !== own && one.likeness > Math.max(this.box ? this.likeness : 0, CLEAR));
    if (other) this.begin(other, tUs);
  }

  /** What is found near the drawing, and of its form. */
  linked(found) {
    const form = formOf(this.ink), near = found.map((one) => {
      const shared = overlap(square(this.box), square(one)), alike = shared < LINKED ? 0 : correlation(form, formOf(one.small));
      return alike > ALIKE ? shared * alike : 0;
    });
    const best = Math.max(0, ...near);
    return best ? found[near.indexOf(best)] : null;
  }

  see(one, tUs) {
    const [width, height] = ["width", "height"].map((side) => this.box[side] + STEADY * (one[side] - this.box[side]));
    this.box = { left: one.left + (one.width - width) / 2, top: one.top + (one.height - height) / 2, width, height };
    this.likeness += LASTING * (one.likeness - this.likeness);
    this.ink = this.ink.map((held, i) => held + f32(f32(FRESH) * f32(one.small[i] - held)));
    this.seenUs = tUs;
  }

  begin(one, tUs) {
    const { left, top, width, height, likeness } = one;
    Object.assign(this, { box: { left, top, width, height }, likeness, ink: Float32Array.from(one.small) });
    [this.beganUs, this.seenUs, this.anew] = [tUs, tUs, true];
  }
}

/** The square around a box's middle, as long as it is. */
function square({ left, top, width, height }) {
  const side = Math.max(width, height);
  return { left: left + (width - side) / 2, top: top + (height - side) / 2, width: side, height: side };
}

/** Ink that shows no single pixel. */
function formOf(ink) {
  return blur(blur(Float32Array.from(ink), SIDE, FORM_TAPS, 1, SIDE), SIDE, FORM_TAPS, SIDE, 1);
}

function correlation(one, other) {
  const [a, b] = [one, other].map((form) => {
    const mean = form.reduce((sum, value) => sum + value, 0) / form.length;
    return form.map((value) => value - mean);
  });
  const product = (u, v) => u.reduce((sum, value, i) => sum + value * v[i], 0);
  return product(a, b) / Math.max(Math.sqrt(product(a, a) * product(b, b)), 1e-9);
}

/** Normalise a drawing to bytes [28, 28], 0 to 255: legible, 20 pixels long, centre of mass in the middle. */
export function centred({ ink, width, height }) {
  const drawing = legible({ data: ink.map((value) => value * 255), width, height });
  const scale = BOX / Math.max(drawing.width, drawing.height), out = new Uint8Array(SIDE * SIDE);
  const [wide, high] = [drawing.width, drawing.height].map((length) => Math.max(1, round(length * scale)));
  const small = resized(drawing.data, drawing.width, drawing.height, wide, high, scale < 1);
  const mass = Math.max(small.reduce((sum, value) => sum + value, 0), 1);
  const [left, top] = [(i) => i % wide, (i) => Math.floor(i / wide)].map((place, axis) => {
    const middle = small.reduce((sum, value, i) => sum + place(i) * value, 0) / mass;
    return Math.min(Math.max(round((SIDE - 1) / 2 - middle), 0), SIDE - [wide, high][axis]);
  });
  small.forEach((value, i) => (out[(top + Math.floor(i / wide)) * SIDE + left + (i % wide)] = Math.min(Math.max(value, 0), 255)));
  return out;
}

/** Make strokes so thick that none vanishes when scaled down. */
function legible(drawing) {
  const missing = round(THIN * Math.max(drawing.width, drawing.height) - thickness(drawing));
  return missing > 0 ? thickened(drawing, missing) : drawing;
}

/** Dilate a drawing by an ellipse, with a border added. */
function thickened({ data, width, height }, missing) {
  const [wide, high] = [width + 2 * missing, height + 2 * missing], side = missing + 1, middle = side >> 1, offsets = [];
  for (let row = 0; row < side; row++) {
    const down = row - middle, reach = round(middle * Math.sqrt((middle ** 2 - down ** 2) / (middle ** 2 || 1)));
    for (let column = Math.max(middle - reach, 0); column < Math.min(middle + reach + 1, side); column++) offsets.push([column - middle, down]);
  }
  const out = new Float32Array(wide * high);
  data.forEach((value, i) => {
    const x = (i % width) + missing, y = Math.floor(i / width) + missing;
    for (const [u, v] of offsets) out[(y - v) * wide + x - u] = Math.max(out[(y - v) * wide + x - u], value);
  });
  return { data: out, width: wide, height: high };
}

/** The thickness of strokes in pixels. */
function thickness({ data, width, height }) {
  const solid = Uint8Array.from(data, (value) => value > SOLID);
  const far = distances(solid, width, height).filter((_, i) => solid[i]);
  return (4 * far.reduce((sum, value) => sum + value, 0)) / far.length;
}
