// The browser's camera, or a video file, as a source: permission, devices, a preview without flashes, and frames.

import { Camera, complain, FRAME, Video } from "../../shared/sources/camera.js";
import { $, notice } from "../../shared/dom.js";
import { arrange } from "../panel/layout.js";
import { state } from "../state.js";

export const STILL_MS = 1000;

export class Webcam {
  camera = new Camera();
  previewMs = 0;

  /** preview: a CalmPicture; looker(): the mode that takes frames now; stop(): ends the present source. */
  constructor(preview, looker, stop) {
    Object.assign(this, { preview, looker, stop });
  }

  async start() {
    this.stop(true);
    $("start").disabled = true;
    const again = () => this.start();
    try {
      const runs = await this.camera.start($("device").value, (canvas, captureMs) => this.frame(canvas, captureMs), () => {
        this.stop();
        complain({ name: "Disconnected" }, again);
      });
      if (!runs) return; // another source by now
      $("start").disabled = false;
      this.show("camera", { title: "Camera" });
      const { media } = this.camera;
      await this.list();
      if (this.camera.media !== media) return;
      this.looker().open(FRAME);
      $("stop").focus();
    } catch (error) {
      this.close();
      if (error.name === "OverconstrainedError") $("device").replaceChildren(); // it was unplugged: the next start takes any other
      complain(error, again);
    }
  }

  /** details: title and note of the source that is shown. */
  show(source, details) {
    const { width, height, task } = state.chosenModel()?.contract ?? {};
    const square = width === height && task !== "detection"; // a detector sees the full frame
    $("guide").classList.toggle("shown", square);
    arrange(source, { note: square ? "the network sees the square" : "", ...details });
    this.preview.resize(FRAME.width, FRAME.height);
    this.looker().clear();
  }

  async list() {
    const devices = await this.camera.devices();
    $("device").replaceChildren(...devices.map((device, i) => new Option(device.label || `Camera ${i + 1}`, device.deviceId)));
    $("device").value = this.camera.deviceId;
    $("device-field").hidden = devices.length < 2;
  }

  frame(canvas, captureMs) {
    if (state.paused) return;
    if (!state.stillView() || captureMs - this.previewMs >= STILL_MS) {
      this.preview.draw(canvas, captureMs);
      this.previewMs = captureMs;
    }
    this.looker().frame(captureMs, () => this.camera.jpeg());
  }

  close() {
    this.camera.stop();
    $("start").disabled = false;
  }
}

/** Use a video file instead of the camera. */
export class Film extends Webcam {
  camera = new Video();

  async start(file) {
    this.stop(true);
    try {
      this.show("video", { title: "Video", note: file.name, input: file });
      const runs = await this.camera.open(file, (canvas, captureMs) => this.frame(canvas, captureMs));
      if (!runs) return; // another source by now
      this.looker().open(FRAME);
      $("stop").focus();
    } catch {
      this.stop();
      notice("This video cannot be shown.", "Choose one that this browser plays.");
    }
  }
}
