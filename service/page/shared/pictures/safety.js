// Photosensitivity (WCAG 2.3.1: at most three flashes in any second). Pictures of the world can flash; what we show must not.

/** Relative luminance of an sRGB colour, 0 to 1 (WCAG definition). */
export function luminance(r, g, b) {
  return 0.2126 * LINEAR[r] + 0.7152 * LINEAR[g] + 0.0722 * LINEAR[b];
}

export const LINEAR = Float64Array.from({ length: 256 }, (_, value) => {
  const c = value / 255;
  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
});

const CELLS_X = 16, CELLS_Y = 12;
const SWING = 0.07; // a change of relative luminance that counts; WCAG counts 0.10
const AREA = 0.15; // share of the picture that counts; WCAG counts 0.25
const SWINGS_A_SECOND = 2; // one flash is two opposing swings

/** Draws frames on a canvas, but blends so slowly when they flash that no flash is left. */
export class CalmPicture {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.small = document.createElement("canvas");
    this.small.width = CELLS_X;
    this.small.height = CELLS_Y;
    this.smallContext = this.small.getContext("2d", { alpha: false, willReadFrequently: true });
    this.clear();
  }

  resize(width, height) {
    Object.assign(this.canvas, { width, height });
    this.canvas.classList.toggle("coarse", width < 200);
    this.clear();
  }

  clear() {
    this.shown = null;
    this.swings = [];
  }

  /** One still picture of its own size. */
  show(image, width, height) {
    this.resize(width, height);
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(image, 0, 0, width, height);
  }

  draw(image, nowMs) {
    const { width, height } = this.canvas;
    this.context.globalAlpha = this.blend(this.cells(image), nowMs);
    this.context.drawImage(image, 0, 0, width, height);
    this.context.globalAlpha = 1;
    this.shown = this.cells(this.canvas);
  }

  cells(image) {
    this.smallContext.drawImage(image, 0, 0, CELLS_X, CELLS_Y);
    const { data } = this.smallContext.getImageData(0, 0, CELLS_X, CELLS_Y);
    return Float64Array.from({ length: CELLS_X * CELLS_Y }, (_, i) => luminance(data[4 * i], data[4 * i + 1], data[4 * i + 2]));
  }

  /** The share of the new frame to mix in: 1 unless it would be one swing too many. */
  blend(next, nowMs) {
    if (!this.shown) return 1;
    const changes = next.map((value, i) => Math.abs(value - this.shown[i]));
    const swinging = changes.filter((change) => change >= SWING).length / changes.length;
    if (swinging < AREA) return 1;
    this.swings = this.swings.filter((time) => nowMs - time < 1000);
    if (this.swings.length < SWINGS_A_SECOND) {
      this.swings.push(nowMs);
      return 1;
    }
    return 0.03;
  }
}
