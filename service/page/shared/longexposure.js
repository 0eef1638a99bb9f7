// All events of a recording in one still picture, like a photograph with the shutter open.

import { exposure } from "./wire.js";

/** From t64 events. */
export function drawExposure(preview, bytes, { width, height }) {
  const { counts, most } = exposure(bytes, width, height);
  drawCounts(preview, counts, most, width, height);
}

function drawCounts(preview, counts, most, width, height) {
  const picture = new OffscreenCanvas(width, height);
  const context = picture.getContext("2d");
  const image = context.createImageData(width, height);
  counts.forEach((count, at) => {
    const grey = 18 + 222 * Math.min(1, count / most) ** 0.7;
    image.data.set([grey, grey, grey + 6, 255], 4 * at);
  });
  context.putImageData(image, 0, 0);
  preview.show(picture, width, height);
}

/** From the frames of a spike train. */
export function drawSum(preview, { data, pixels, width, height, steps, channels }) {
  const counts = new Uint32Array(width * height);
  for (let i = 0; i < steps * pixels; i++) counts[(i % pixels) % counts.length] += data[i] ? 1 : 0;
  drawCounts(preview, counts, Math.max(1, ...counts) / channels, width, height);
}
