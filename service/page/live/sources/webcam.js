// The browser's camera as a source: permission, devices, a calm preview, and frames for whoever looks.

import { Camera, explain, FRAME } from "../../shared/camera.js";
import { $ } from "../../shared/dom.js";
import { hideNotice, notice } from "../../shared/notice.js";
import { arrange, tip } from "../panel/layout.js";
import * as state from "../state.js";

export const STILL_MS = 1000;
const TIPS = {
  digit: "Write a digit with a thick pen, let the paper fill the square, and sway it a little: the network sees only change.",
  motion: "Move a hand or an object before the camera: left, right, up, down, around, towards it, away from it.",
};

export class Webcam {
  /** preview: a CalmPicture; looker(): who takes frames now; stop() ends whatever runs. */
  constructor(preview, looker, stop) {
    Object.assign(this, { preview, looker, stop });
    this.camera = new Camera();
    this.previewMs = 0;
  }

  async start() {
    this.stop();
    hideNotice();
    $("start").disabled = true;
    const again = () => this.start();
    try {
      await this.camera.start($("device").value, (canvas, captureMs) => this.frame(canvas, captureMs), () => {
        this.stop();
        notice("The camera was disconnected.", "Plug it in and start again.", { label: "Start again", run: again });
      });
      this.show();
      await this.list();
      this.looker().open(FRAME);
      $("stop").focus();
    } catch (error) {
      this.camera.stop();
      const { title, text } = explain(error);
      notice(title, text, error.name === "InsecureContext" ? null : { label: "Try again", run: again });
    } finally {
      $("start").disabled = false;
    }
  }

  show() {
    const { labels = [], contract: { width, height, still: way } = {} } = state.chosenModel() ?? {};
    const square = width === height;
    $("guide").classList.toggle("shown", square);
    arrange("camera", { note: square ? "the network sees the square" : "" });
    this.preview.resize(FRAME.width, FRAME.height);
    this.looker().clear();
    tip(way === "digit" ? TIPS.digit : labels.includes("left") ? TIPS.motion : "");
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
  }
}
