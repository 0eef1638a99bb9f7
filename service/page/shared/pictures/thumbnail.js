// A recording as a still picture, like a photograph with a long exposure: where its first events got brighter (blue) or
// darker (orange).

import { element, rgb } from "../dom.js";
import { T64_BYTES } from "../sources/player.js";

const [GROUND, ON, OFF] = ["--event-ground", "--event-on", "--event-off"].map(rgb);
const SHARE = 1 / 3; // of the events: one saccade, so that both sides of a stroke keep their colour

/** A canvas of width x height, from t64 events. */
export function thumbnail(bytes, { width, height }) {
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d", { alpha: false });
  const image = context.createImageData(width, height);
  const { on, off } = counted(bytes, width, height);
  const busiest = on.map((count, at) => count + off[at]).sort();
  const most = Math.max(1, busiest[Math.floor(0.98 * busiest.length)]);
  for (let at = 0; at < on.length; at++) {
    const sum = on[at] + off[at], level = Math.min(1, sum / most) ** 0.6, bright = sum ? on[at] / sum : 0;
    image.data.set([...GROUND.map((ground, i) => ground + level * (OFF[i] + bright * (ON[i] - OFF[i]) - ground)), 255], 4 * at);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function counted(bytes, width, height) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const on = new Float32Array(width * height), off = new Float32Array(width * height);
  const end = Math.floor((SHARE * bytes.byteLength) / T64_BYTES) * T64_BYTES;
  for (let at = 0; at < end; at += T64_BYTES) {
    const x = view.getUint16(at + 8, true), y = view.getUint16(at + 10, true);
    if (x < width && y < height) (view.getUint8(at + 12) ? on : off)[y * width + x]++;
  }
  return { on, off };
}
