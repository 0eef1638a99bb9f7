// The webcam: opens it with helpful messages on failure, and gives a JPEG of each frame that the stream can take.

import { element, notice } from "../dom.js";

export const FRAME = { width: 320, height: 240 };
const JPEG_QUALITY = 0.8;

/** Explain a failure to the user, and offer to start again where that may help. */
export function complain({ name }, again = null) {
  const reasons = {
    Disconnected: ["The camera was disconnected.", "Plug it in and start again."],
    NotAllowedError: ["Camera permission denied.", "Allow the camera for this page (the icon beside the address), then start again."],
    NotFoundError: ["No camera found.", "Plug one in and start again, or play a recording, or drop a file."],
    OverconstrainedError: ["That camera is not there any more.", "Choose another one and start again."],
    NotReadableError: ["The camera is busy.", "Another program is using it: close that program and start again."],
    AbortError: ["The camera stopped.", "Start it again."],
    InsecureContext: [
      "This address is not secure, so the browser hides the camera.",
      "Open the page as https:// or on localhost. The server can do it: spikesight serve --ssl-certfile FILE --ssl-keyfile FILE.",
    ],
  };
  const [title, text] = reasons[name] ?? ["The camera did not start.", "Start it again, or play a recording."];
  notice(title, text, again && name !== "InsecureContext" ? { label: "Try again", run: again } : null);
}

export class Camera {
  constructor() {
    this.video = element("video", { muted: true, playsInline: true });
    this.canvas = element("canvas", FRAME);
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.media = this.visit = null; // visit: a new object with each start, null when stopped
  }

  /** onFrame(canvas, captureMs): called for each new frame; onEnd(): called when the device goes away. Resolves to false if
      it was stopped meanwhile, as while the user is asked. */
  async start(deviceId, onFrame, onEnd) {
    if (!window.isSecureContext || !navigator.mediaDevices) throw Object.assign(new Error(), { name: "InsecureContext" });
    this.stop();
    const visit = (this.visit = {});
    const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
    if (deviceId) video.deviceId = { exact: deviceId };
    const media = await navigator.mediaDevices.getUserMedia({ video, audio: false }).catch((error) => { if (this.visit === visit) throw error; });
    if (this.visit !== visit) {
      media?.getTracks().forEach((track) => track.stop());
      return false;
    }
    this.media = media;
    media.getVideoTracks()[0].addEventListener("ended", () => this.visit === visit && onEnd());
    this.video.srcObject = media;
    return this.play(onFrame);
  }

  /** Play, and call onFrame for each frame until stopped; resolves to false if stopped before the first. */
  async play(onFrame) {
    const { visit } = this;
    await this.video.play().catch((error) => { if (this.visit === visit) throw error; });
    if (this.visit !== visit) return false;
    const next = (callback) => ("requestVideoFrameCallback" in this.video ? this.video.requestVideoFrameCallback(callback) : requestAnimationFrame(callback));
    const tick = () => {
      if (this.visit !== visit) return;
      this.draw();
      onFrame(this.canvas, performance.now());
      next(tick);
    };
    next(tick);
    return true;
  }

  /** The middle of the frame, cut to 4:3. */
  draw() {
    const { videoWidth: w, videoHeight: h } = this.video;
    if (!w) return;
    const cut = Math.min(w / FRAME.width, h / FRAME.height);
    const [cw, ch] = [cut * FRAME.width, cut * FRAME.height];
    this.context.drawImage(this.video, (w - cw) / 2, (h - ch) / 2, cw, ch, 0, 0, FRAME.width, FRAME.height);
  }

  jpeg() {
    return new Promise((resolve) => this.canvas.toBlob(async (blob) => resolve(blob && (await blob.arrayBuffer())), "image/jpeg", JPEG_QUALITY));
  }

  get deviceId() {
    return this.media?.getVideoTracks()[0]?.getSettings().deviceId ?? "";
  }

  async devices() {
    const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return all.filter((device) => device.kind === "videoinput");
  }

  stop() {
    this.media?.getTracks().forEach((track) => track.stop());
    this.media = this.visit = null;
    this.video.srcObject = null;
  }
}

/** A video file in place of the camera, played again and again. */
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
