// A file or a drawing as a source.

import { $, element, hideNotice, notice, on } from "../../shared/dom.js";
import { tell } from "../panel/connection.js";
import { arrange } from "../panel/layout.js";
import { state } from "../state.js";
import { Sketchpad } from "./sketchpad.js";

const LARGEST = 640; // pixels of a shown picture's side

export class Stills {
  /** preview: a CalmPicture; looker(): the mode that takes files now; stop(): ends the present source. */
  constructor(preview, looker, stop) {
    Object.assign(this, { preview, looker, stop });
    this.pad = new Sketchpad($("pad"), () => this.drawn());
    on("pad-clear", "click", () => this.draw());
    const digits = Array.from({ length: 10 }, (_, digit) => ({ type: "button", ariaLabel: `Write a ${digit}`, onclick: () => this.pad.write(digit) }));
    $("pad-digits").replaceChildren(...digits.map((about, digit) => element("button", about, String(digit))));
  }

  async open(file) {
    if (!file) return;
    this.stop(true);
    arrange("file", { title: "File", note: file.name, input: file });
    this.looker().clear();
    const image = file.type.startsWith("image/");
    const train = await this.look(file, image && (() => this.picture(file)));
    if (train?.exposure) await this.picture(train.exposure, Infinity);
  }

  draw() {
    this.stop(true);
    arrange("file", { title: "Drawing", note: "draw, or press a digit" });
    this.looker().clear();
    this.pad.clear();
    $("pad").hidden = $("pad-controls").hidden = false;
    $("pad-digits").firstElementChild.focus({ preventScroll: true });
  }

  async drawn() {
    hideNotice();
    await this.look(await this.pad.file());
  }

  async look(file, first = () => {}) {
    const visit = (this.visit = {});
    state.input = file;
    tell("reading");
    try {
      if (first) await first();
      const train = this.visit === visit ? await this.looker().file(file) : null;
      if (this.visit !== visit) return null; // another file or source by now
      tell("idle");
      if ($("pad").hidden) $("stop").focus();
      return train;
    } catch (error) {
      if (this.visit !== visit) return null;
      if ($("pad").hidden) this.stop();
      tell("idle");
      notice("No prediction for this file.", error.message, error.status >= 503 ? { label: "Try again", run: () => ($("pad").hidden ? this.open(file) : this.drawn()) } : null);
      return null;
    }
  }

  async picture(file, largest = LARGEST) {
    const { visit } = this, image = await createImageBitmap(file).catch(() => null);
    if (!image || this.visit !== visit) return;
    const scale = Math.min(1, largest / Math.max(image.width, image.height));
    this.preview.show(image, Math.round(image.width * scale), Math.round(image.height * scale));
  }

  close() {
    this.visit = null;
    $("pad").hidden = true;
  }
}
