// A file or a drawing as a source.

import { arrange } from "./layout.js";
import { pill } from "./link.js";
import { drawSum } from "./longexposure.js";
import { hideNotice, notice } from "./notice.js";
import { Pad } from "./pad.js";
import { $, page } from "./page.js";

const LARGEST = 640; // pixels of a shown picture's side

export class Stills {
  /** preview: a CalmPicture; looker(): who takes files now; stop() ends whatever runs; shown() is told of a new name. */
  constructor(preview, looker, stop, shown) {
    Object.assign(this, { preview, looker, stop, shown });
    this.pad = new Pad($("pad"), () => this.drawn());
    $("pad-clear").addEventListener("click", () => this.draw());
    $("pad-digits").replaceChildren(...Array.from({ length: 10 }, (_, digit) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: String(digit) });
      button.setAttribute("aria-label", `Write a ${digit}`);
      button.addEventListener("click", () => this.pad.write(digit));
      return button;
    }));
  }

  async open(file) {
    if (!file) return;
    this.stop();
    hideNotice();
    page.input = file;
    arrange("file", { title: "File", note: file.name, name: file.name });
    this.looker().clear();
    const image = file.type.startsWith("image/");
    const train = await this.look(file, image && (() => this.picture(file)));
    if (!image && train) drawSum(this.preview, train);
  }

  /** A clean sheet. */
  draw() {
    this.stop();
    hideNotice();
    page.input = null;
    arrange("file", { title: "Drawing", note: "draw, or let a digit be written", name: "drawing.png" });
    this.looker().clear();
    this.pad.clear();
    $("pad").hidden = $("pad-controls").hidden = false;
    $("pad-digits").firstElementChild.focus({ preventScroll: true });
    this.shown();
  }

  async drawn() {
    hideNotice();
    await this.look(await this.pad.file());
  }

  async look(file, first = () => {}) {
    page.input = file;
    this.shown();
    pill("reading");
    try {
      if (first) await first();
      const train = await this.looker().file(file);
      if (page.source === "file") pill("idle");
      if ($("pad").hidden) $("stop").focus();
      return train;
    } catch (error) {
      if ($("pad").hidden) this.stop();
      pill("idle");
      notice("No prediction for this file.", error.message, error.status === 503 ? { label: "Try again", run: () => this.open(file) } : null);
      return null;
    }
  }

  async picture(file) {
    const image = await createImageBitmap(file).catch(() => null);
    if (!image) return;
    const scale = Math.min(1, LARGEST / Math.max(image.width, image.height));
    this.preview.show(image, Math.round(image.width * scale), Math.round(image.height * scale));
  }

  close() {
    $("pad").hidden = true;
  }
}
