// A network that looks all over a view: the finest level's bins at all levels of a pyramid, and what is found in them.

import { Objects } from "./finder.js";

/** encoders/pyramid.py's: levels side by side in one picture. */
class Pyramid {
  constructor({ width, height, levels }) {
    Object.assign(this, { width, height, levels, least: new Uint16Array(width * height).fill(1) });
    for (const { top, left, height: rows, width: columns, least } of levels) {
      for (let row = top; row < top + rows; row++) this.least.fill(least, row * width + left, row * width + left + columns);
    }
  }

  /** A bin's cells at the finest level, bytes [2, rows, columns], at all levels: bytes [2, height, width] of 0 and 1. */
  atlas(x) {
    const { width, height, levels, least } = this, size = width * height, [{ width: columns, height: rows }] = levels;
    const lit = new Uint16Array(2 * size), out = new Uint8Array(2 * size);
    for (let i = 0; i < x.length; i++) {
      if (!x[i]) continue;
      const column = i % columns, line = (i - column) / columns, row = line % rows, polarity = (line - row) / rows;
      for (const one of levels) {
        const y = one.top + Math.floor((row * one.height) / rows), across = one.left + Math.floor((column * one.width) / columns);
        lit[polarity * size + y * width + across]++;
      }
    }
    for (let at = 0; at < out.length; at++) out[at] = lit[at] >= least[at % size] ? 1 : 0;
    return out;
  }
}

export class View {
  /** facts: model.json; block: the network with its weights for views. */
  constructor({ labels, view }, block) {
    Object.assign(this, { labels, facts: view, block, pyramid: new Pyramid(view.pyramid), probe: false });
    this.begin();
  }

  /** Start on another source. */
  begin() {
    this.objects = new Objects(this.labels, this.facts);
    this.restart();
  }

  restart() {
    this.block.restart();
    this.objects.reset();
    this.step = 0;
  }

  /** Run one step on x, the finest level's bin; return what a Network does, and the `objects` found. */
  run(x, reset = false) {
    if (reset) this.restart();
    const atlas = this.pyramid.atlas(x), logits = this.block.step(atlas, this.probe);
    const inside = this.probe && this.block.inside(x, this.facts.contract);
    return { ...this.objects.read(atlas, logits), inside, step: ++this.step, reset };
  }
}
