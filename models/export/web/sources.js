// A picture as a source of camera frames: moved before the emulated camera.

import { element } from "../shared/dom.js";
import { FRAME } from "../shared/sources/camera.js";

const PICTURE = 28 / 34; // the longer side, of the frame's height, as an MNIST image's of N-MNIST's sensor
const EVERY_MS = 10; // fine steps: the emulator interpolates along straight lines

/** A picture moved by saccades, on a ground of its corner's colour, for `still` "digit" as light ink on dark paper; where a network looks all over the frames, held still. */
export class Still {
  constructor() {
    this.canvas = element("canvas", FRAME);
    this.context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.timer = this.visit = null;
  }

  /** Resolves to false if it was stopped meanwhile. */
  async open(file, onFrame, facts) {
    this.stop();
    const visit = (this.visit = {}), image = await createImageBitmap(file);
    if (this.visit !== visit) return false;
    this.path = facts.path;
    this.show(image, !facts.view && facts.contract.still === "digit");
    let ms = performance.now(); // a clock of its own: a slow machine shows it slowly, with the same steps
    this.timer = setInterval(() => {
      this.draw(ms);
      onFrame(this.canvas, ms);
      ms += EVERY_MS;
    }, EVERY_MS);
    return true;
  }

  show(image, drawing) {
    const scale = (PICTURE * FRAME.height) / Math.max(image.width, image.height);
    this.size = [image.width * scale, image.height * scale];
    this.picture = image;
    this.context.drawImage(image, 0, 0, FRAME.width, FRAME.height);
    const [r, g, b] = this.context.getImageData(0, 0, 1, 1).data;
    this.ground = `rgb(${r} ${g} ${b})`;
    this.inverts = drawing && g > 127;
  }

  draw(ms) {
    const [x, y] = this.path.map((way) => way[Math.floor(ms) % way.length]), [width, height] = this.size;
    this.context.fillStyle = this.ground;
    this.context.fillRect(0, 0, FRAME.width, FRAME.height);
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(this.picture, (FRAME.width - width) / 2 + x * FRAME.height, (FRAME.height - height) / 2 + y * FRAME.height, width, height);
    if (!this.inverts) return;
    Object.assign(this.context, { globalCompositeOperation: "difference", fillStyle: "white" });
    this.context.fillRect(0, 0, FRAME.width, FRAME.height);
    this.context.globalCompositeOperation = "source-over";
  }

  stop() {
    clearInterval(this.timer);
    this.timer = this.visit = null;
  }
}
