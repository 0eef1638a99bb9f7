// Image operations for finding a drawing, with OpenCV's rounding, on planes stored row by row.

const f32 = Math.fround;

/** Round to the nearest whole number, halves to even, as Python does. */
export function round(value) {
  const whole = Math.round(value);
  return Math.abs(value % 1) === 0.5 && whole % 2 ? whole - 1 : whole;
}

/** Ink and ground of whole pictures, computed by the engine (native/kernels/pictures.cpp). */
export class Inks {
  /** engine: exports of the engine's module. */
  constructor(engine) {
    Object.assign(this, { engine, size: 0 });
  }

  /** Process RGBA pixels and their negative; return {width, height, ink, ground}, valid until the engine's memory grows. */
  of(rgba, width, height, side) {
    const { engine } = this, size = width * height;
    if (this.size !== size) Object.assign(this, { size, at: engine.memory_for(20 * size) });
    new Uint8Array(engine.memory.buffer, this.at, 4 * size).set(rgba);
    engine.inks(this.at, width, height, side, this.at + 4 * size);
    const [ink, ground, light, lightGround] = [1, 2, 3, 4].map((n) => new Float32Array(engine.memory.buffer, this.at + 4 * n * size, size));
    return [{ width, height, ink, ground }, { width, height, ink: light, ground: lightGround }];
  }
}

/** Dilate: the largest byte in side x side around each (van Herk 1992); 0 beyond the border. */
export function dilated(data, width, height, side) {
  return largest(largest(data, width, height, side, 1), width, height, side, width);
}

/** Dilate along one direction: `side` bytes, `step` apart (1 along rows, the width along columns). */
function largest(data, width, height, side, step) {
  const reach = (side >> 1) * step, block = side * step, out = new Uint8Array(data.length);
  const fore = new Uint8Array(data.length), back = new Uint8Array(data.length); // from the begin, and to the end, of each block
  const line = step === 1 ? width : data.length; // what lies beyond it is another's
  for (let begin = 0; begin < data.length; begin += line) {
    for (let i = 0, place = 0; i < line; i++, place = place + 1 === block ? 0 : place + 1) {
      const at = begin + i, before = place < step ? 0 : fore[at - step];
      fore[at] = data[at] > before ? data[at] : before;
    }
    for (let i = line - 1, place = i % block; i >= 0; i--, place = place ? place - 1 : block - 1) {
      const at = begin + i, behind = place >= block - step || i + step >= line ? 0 : back[at + step];
      back[at] = data[at] > behind ? data[at] : behind;
    }
    for (let i = 0; i < line; i++) {
      const at = begin + i, ends = i + reach < line ? fore[at + reach] : 0, begins = i >= reach ? back[at - reach] : 0;
      out[at] = ends > begins ? ends : begins;
    }
    for (let i = Math.max(line - reach, 0); i < line; i++) { // windows that the line ends
      const last = line - step + (i % step), at = begin + i;
      if (fore[begin + last] > out[at] && Math.floor(last / block) * block >= i - reach) out[at] = fore[begin + last];
    }
  }
  return out;
}

/** Connected parts (8 neighbours): {labels Int32Array, parts [{left, top, width, height, area, x, y}]}, part 0 the ground. */
export function components(mask, width, height) {
  const labels = new Int32Array(mask.length), parts = [{}], stack = [];
  for (let begin = 0; begin < mask.length; begin++) {
    if (!mask[begin] || labels[begin]) continue;
    const part = { left: width, top: height, right: 0, bottom: 0, area: 0, x: 0, y: 0 };
    labels[begin] = parts.length;
    stack.push(begin);
    while (stack.length) {
      const at = stack.pop(), x = at % width, y = (at - x) / width;
      [part.left, part.right, part.top, part.bottom] = [Math.min(part.left, x), Math.max(part.right, x), Math.min(part.top, y), Math.max(part.bottom, y)];
      [part.area, part.x, part.y] = [part.area + 1, part.x + x, part.y + y];
      const last = Math.min(x + 1, width - 1);
      for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, height - 1); v++) {
        for (let u = Math.max(x - 1, 0) + v * width; u <= last + v * width; u++) {
          if (!mask[u] || labels[u]) continue;
          labels[u] = parts.length;
          stack.push(u);
        }
      }
    }
    const { left, top, right, bottom, area, x, y } = part;
    parts.push({ left, top, width: right - left + 1, height: bottom - top + 1, area, x: x / area, y: y / area });
  }
  return { labels, parts };
}

/** The smallest rotated rectangle around a mask: {area, width, height}. */
export function boxAround(mask, width, height) {
  const hull = hullOf(mask, width, height), best = { area: Infinity };
  hull.forEach(([x, y], i) => {
    const [u, v] = hull[(i + 1) % hull.length], length = Math.hypot(u - x, v - y) || 1;
    const cos = (u - x) / length, sin = (v - y) / length;
    const along = hull.map(([a, b]) => a * cos + b * sin), across = hull.map(([a, b]) => b * cos - a * sin);
    const [left, right, top, bottom] = [Math.min(...along), Math.max(...along), Math.min(...across), Math.max(...across)];
    const area = (right - left) * (bottom - top);
    if (area < best.area) Object.assign(best, { area, width: right - left, height: bottom - top });
  });
  return best;
}

/** Corners of the convex hull (Andrew 1979), from the first and last pixel of each row. */
function hullOf(mask, width, height) {
  const points = [];
  for (let y = 0; y < height; y++) {
    const row = mask.subarray(y * width, (y + 1) * width), first = row.indexOf(1);
    if (first >= 0) points.push([first, y], [row.lastIndexOf(1), y]);
  }
  const chain = (along) => {
    const kept = [];
    for (const [x, y] of along) {
      for (; kept.length > 1; kept.pop()) {
        const [[a, b], [c, d]] = kept.slice(-2);
        if ((c - a) * (y - b) - (d - b) * (x - a) > 0) break;
      }
      kept.push([x, y]);
    }
    return kept.slice(0, -1);
  };
  points.sort(([a, b], [c, d]) => a - c || b - d);
  const hull = [...chain(points), ...chain([...points].reverse())];
  return hull.length ? hull : points.slice(0, 1);
}

const STRAIGHT = 62587, ASKEW = 89738; // 0.955 and 1.3693, in 65536ths
/** Distance transform: each mask pixel's distance to the nearest pixel outside (Borgefors 1986), or the border. */
export function distances(mask, width, height) {
  const wide = width + 2, far = new Int32Array(wide * (height + 2)), out = new Float32Array(mask.length);
  for (let i = 0; i < mask.length; i++) {
    const at = (Math.floor(i / width) + 1) * wide + (i % width) + 1;
    if (mask[i]) far[at] = Math.min(far[at - wide - 1] + ASKEW, far[at - wide] + STRAIGHT, far[at - wide + 1] + ASKEW, far[at - 1] + STRAIGHT);
  }
  for (let i = mask.length - 1; i >= 0; i--) {
    const at = (Math.floor(i / width) + 1) * wide + (i % width) + 1;
    if (mask[i]) far[at] = Math.min(far[at], far[at + wide + 1] + ASKEW, far[at + wide] + STRAIGHT, far[at + wide - 1] + ASKEW, far[at + 1] + STRAIGHT);
    out[i] = far[at] / 65536;
  }
  return out;
}

/** Which source lines make up each target line, with what weights: by area when shrinking, else linearly. */
function shares(from, to, byArea) {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    if (!byArea) {
      const at = f32((i + 0.5) * scale - 0.5), low = Math.floor(at), part = f32(at - low);
      return low < 0 ? [[0, 1]] : low >= from - 1 ? [[from - 1, 1]] : [[low, f32(1 - part)], [low + 1, part]];
    }
    const begin = i * scale, end = begin + scale, cell = Math.min(scale, from - begin);
    const last = Math.min(Math.floor(end), from - 1), first = Math.min(Math.ceil(begin), last), parts = [];
    if (first - begin > 1e-3) parts.push([first - 1, f32((first - begin) / cell)]);
    for (let line = first; line < last; line++) parts.push([line, f32(1 / cell)]);
    if (end - last > 1e-3) parts.push([last, f32(Math.min(end - last, 1, cell) / cell)]);
    return parts;
  });
}

/** Resize a plane of floats. */
export function resized(data, width, height, toWidth, toHeight, byArea) {
  const columns = shares(width, toWidth, byArea), rows = shares(height, toHeight, byArea), out = new Float32Array(toWidth * toHeight);
  rows.forEach((lines, y) => {
    for (const [line, part] of lines) {
      columns.forEach((places, x) => {
        const sum = places.reduce((total, [place, share]) => f32(total + f32(data[line * width + place] * share)), 0);
        out[y * toWidth + x] += f32(sum * part);
      });
    }
  });
  return out;
}
