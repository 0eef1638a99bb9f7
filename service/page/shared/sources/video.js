// A video file in place of the camera, played again and again.

import { Camera } from "./camera.js";

export class Video extends Camera {
  /** As Camera.start. */
  open(file, onFrame) {
    this.stop();
    this.visit = {};
    this.url = URL.createObjectURL(file);
    Object.assign(this.video, { src: this.url, loop: true });
    return this.play(onFrame);
  }

  stop() {
    super.stop();
    if (!this.url) return;
    this.video.pause();
    this.video.removeAttribute("src");
    URL.revokeObjectURL(this.url);
    this.url = null;
  }
}
