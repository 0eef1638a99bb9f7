// A region of interest: an outline over the canvas of a picture.

export class RoiBox {
  constructor() {
    this.outline = Object.assign(document.createElement("div"), { className: "roi", hidden: true });
    this.outline.setAttribute("aria-hidden", "true");
  }

  /** square: [left, top, side] in pixels of the canvas, or nothing where all of it is seen. */
  draw(canvas, square) {
    const { outline } = this;
    outline.hidden = !square;
    if (!square) return;
    if (outline.parentElement !== canvas.parentElement) canvas.parentElement.append(outline);
    const { clientWidth, clientHeight, width, height } = canvas;
    const scale = Math.min(clientWidth / width, clientHeight / height); // object-fit: contain
    const [left, top, side] = square;
    const mirrored = canvas.classList.contains("mirror") ? width - left - side : left;
    const place = { left: (clientWidth - scale * width) / 2 + scale * mirrored, top: (clientHeight - scale * height) / 2 + scale * top, width: scale * side, height: scale * side };
    for (const [name, pixels] of Object.entries(place)) outline.style[name] = `${pixels}px`;
  }
}
