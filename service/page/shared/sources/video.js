// A video file in place of the camera, played again and again.

import { Camera } from "./camera.js";

export class Video extends Camera {
  async open(file, onFrame) {
    this.stop();
    this.url = URL.createObjectURL(file);
    Object.assign(this.video, { src: this.url, loop: true });
    await this.video.play();
    const next = (callback) => ("requestVideoFrameCallback" in this.video ? this.video.requestVideoFrameCallback(callback) : requestAnimationFrame(callback));
    const tick = () => {
      if (!this.url) return;
      this.draw();
      onFrame(this.canvas, performance.now());
      next(tick);
    };
    tick();
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
