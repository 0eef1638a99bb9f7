// All events of a recording in one still picture, like a photograph with a long exposure.

import { exposure } from "../sources/t64.js";

/** Draw from t64 events. */
export function drawExposure(preview, bytes, { width, height }) {
  const { counts, most } = exposure(bytes, width, height);
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
