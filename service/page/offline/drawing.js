// Find the drawing in a camera's picture, as encoders/preprocess/drawing.py does, with the same names: strokes of one
// tone on an even ground.

import { boxAround, components, dilated, round } from "./pictures.js";

const STROKE = 0.2, LEVELS = [0.12, 0.24, 0.4], SMALLEST = 0.07, LARGEST = 0.98, BAR = 0.3, FILLED = 0.8, SIDES = 0.35, FULL = 0.9;
const PART = 0.06, REACH = 0.7, GAP = 0.1, RING = 0.1, ENCLOSING = 0.3, LIKELY = 0.1, MOST = 16, SAME = 0.6;
const TRIED = 16, OWN = 2, SMALL_AREA = 8;
const f32 = Math.fround;

/** What may be a drawing in a picture of RGBA pixels, the likeliest first: {ink Float32Array [height width] 0 to 1, left, top,
 * width, height, likeness, which is also by size and place}. */
export function candidatesIn(rgba, width, height, inks) {
  const found = inks.of(rgba, width, height, round(Math.min(width, height) * STROKE) | 1).flatMap(dark);
  return distinct(asOne(found)).map(({ group, picture, peak, likeness }) => {
    const { left, top, width, height } = group, box = cut(group, picture, 0), kept = dilated(box.strokes, box.width, box.height, 3);
    const ink = box.of(picture.ink).map((value, i) => f32(Math.min(Math.max(f32(f32(f32(value / f32(peak)) - f32(0.15)) / f32(0.7)), 0), 1) * kept[i]));
    return { ink, left, top, width, height, likeness };
  });
}

/** All candidates in the dark of a picture: each part alone, and with those beside it. */
function dark(picture) {
  return LEVELS.flatMap((level) => groupsOf(picture, level)).map((group) => ({ group, picture, ...judge(group, picture) }))
    .filter(({ likeness }) => likeness > LIKELY).map((one) => ({ ...one, likeness: one.likeness * placed(one.group, picture) }));
}

/** All but what strokes of the other tone enclose, unless that is much likelier: then it is ink, and they are its sheet. */
function asOne(found) {
  return found.filter((one) => found.every((by) => one.likeness > by.likeness + ENCLOSING || !encloses(by, one)));
}

function encloses({ group: outer, picture }, { group: inner, ...other }) {
  const within = (at, length) => outer[at] <= inner[at] && inner[at] + inner[length] <= outer[at] + outer[length];
  return picture !== other.picture && within("left", "width") && within("top", "height");
}

/** The likeliest of those that lie in one place. */
function distinct(found) {
  const kept = [];
  for (const one of found.sort((a, b) => b.likeness - a.likeness)) {
    if (kept.length < MOST && kept.every(({ group }) => overlap(one.group, group) <= SAME)) kept.push(one);
  }
  return kept;
}

/** Intersection over union of two boxes. */
export function overlap(one, other) {
  const shared = (at, length) => Math.max(0, Math.min(one[at] + one[length], other[at] + other[length]) - Math.max(one[at], other[at]));
  const both = shared("left", "width") * shared("top", "height");
  return both / (one.width * one.height + other.width * other.height - both);
}

/** Parts above a level that may be one drawing: each of the largest alone, and with those near it. */
function groupsOf({ width, height, ink }, level) {
  const { labels, parts } = components(above(ink, f32(level)), width, height);
  const shorter = Math.min(width, height), [shortest, longest] = [SMALLEST * shorter, LARGEST * shorter];
  const long = parts.map((part) => Math.max(part.width, part.height));
  const kept = parts.map((part, n) => {
    const inside = n > 0 && part.left > 1 && part.top > 1 && part.left + part.width < width - 1 && part.top + part.height < height - 1;
    return inside && part.area > SMALL_AREA;
  });
  const heads = parts.map((_, n) => n).filter((n) => kept[n] && long[n] >= shortest && long[n] <= longest);
  heads.sort((a, b) => parts[b].area - parts[a].area || a - b);
  const alone = heads.slice(0, TRIED).map((head) => ({ ...parts[head], members: new Set([head]) }));
  const joined = heads.slice(0, TRIED).map((head) => grown(head, parts, kept, long)).filter(({ members }) => members.size > 1);
  return [...alone, ...joined].filter((group) => Math.max(group.width, group.height) <= longest).map((group) => ({ ...group, labels }));
}

function above(values, level) {
  const mask = new Uint8Array(values.length);
  for (let i = 0; i < mask.length; i++) mask[i] = values[i] > level;
  return mask;
}

/** Group a part with nearby parts that are not longer and not much smaller. */
function grown(head, parts, kept, long) {
  const first = parts[head], members = new Set([head]);
  let { left, top } = first, right = left + first.width, bottom = top + first.height, before = 0;
  while (members.size > before) {
    before = members.size;
    parts.forEach((part, n) => {
      if (!kept[n] || members.has(n) || long[n] > long[head] || part.area < PART * first.area) return;
      const apart = Math.max(Math.abs(part.x - first.x), Math.abs(part.y - first.y));
      const end = part.left + part.width, foot = part.top + part.height;
      const between = Math.max(part.left - right, left - end, part.top - bottom, top - foot);
      if (apart >= REACH * long[head] && between >= GAP * long[head]) return;
      members.add(n);
      [left, top, right, bottom] = [Math.min(left, part.left), Math.min(top, part.top), Math.max(right, end), Math.max(bottom, foot)];
    });
  }
  return { members, left, top, width: right - left, height: bottom - top };
}

function maskOf(labels, width, box, has) {
  const mask = new Uint8Array(box.width * box.height);
  for (let i = 0; i < mask.length; i++) mask[i] = has(labels[(box.top + Math.floor(i / box.width)) * width + box.left + (i % box.width)]);
  return mask;
}

/** A group's box with a margin; of(plane): the same box of another plane. */
function cut({ labels, members, ...group }, { width, height }, margin) {
  const left = Math.max(0, group.left - margin), top = Math.max(0, group.top - margin);
  const box = { left, top, width: Math.min(width, group.left + group.width + margin) - left, height: Math.min(height, group.top + group.height + margin) - top };
  const of = (plane) => {
    const part = new Float32Array(box.width * box.height);
    for (let y = 0; y < box.height; y++) part.set(plane.subarray((top + y) * width + left, (top + y) * width + left + box.width), y * box.width);
    return part;
  };
  return { ...box, strokes: maskOf(labels, width, box, (label) => members.has(label)), of };
}

/** How much a group is where the one drawing would be that is shown: large, in the middle. */
function placed({ left, top, width, height }, picture) {
  const size = Math.min(1, Math.max(width, height) / (0.3 * Math.min(picture.height, picture.width))) ** 0.5;
  return size * (1 - 0.5 * Math.hypot((left + width / 2) / picture.width - 0.5, (top + height / 2) / picture.height - 0.5));
}

/** How much a group looks like strokes on an even ground, 0 where that is not above LIKELY; and the ink's tone. */
function judge(group, picture) {
  const reach = Math.max(3, round(RING * Math.max(group.width, group.height))), box = cut(group, picture, reach + 1);
  const { peak, uneven, stray, mean, spread } = tones(box, reach, picture);
  const clean = Math.max(0, 1 - (2.5 * stray) / peak), even = Math.max(0, 1 - (4 * spread) / (mean + 0.02));
  const oneTone = Math.max(0, 1 - (1.5 * uneven) / peak);
  const likeness = clean * even * oneTone * Math.min(1, peak / 0.5) * Math.min(1, 0.4 + mean / 0.5);
  const none = likeness <= LIKELY || isSheet(box);
  return { likeness: none ? 0 : likeness, peak };
}

/** Statistics of strokes and the ring around them: 80 % quantile and deviation of the ink, the ring's ink and ground. */
function tones(box, reach, picture) {
  const [wide, close] = [reach, OWN].map((n) => dilated(box.strokes, box.width, box.height, 2 * n + 1));
  const ink = box.of(picture.ink), ground = box.of(picture.ground), { length } = ink;
  const [strokes, there, behind] = [0, 1, 2].map(() => new Float32Array(length));
  let n = 0, m = 0;
  for (let i = 0; i < length; i++) {
    if (box.strokes[i]) strokes[n++] = ink[i];
    if (wide[i] && !close[i]) [there[m], behind[m++]] = [ground[i], ink[i]];
  }
  const inked = strokes.subarray(0, n).sort(), around = there.subarray(0, m), beside = behind.subarray(0, m);
  if (!around.length) return { peak: 1, uneven: 0, stray: -1, mean: -1, spread: 0 };
  const at = (inked.length - 1) * 0.8, low = Math.floor(at), part = at - low, below = inked[low], above = inked[Math.min(low + 1, inked.length - 1)];
  const step = f32(above - below), peak = f32(part >= 0.5 ? above - step * (1 - part) : below + step * part);
  const [mean, spread] = moments(around);
  return { peak, uneven: moments(inked)[1], stray: moments(beside)[0], mean, spread };
}

function moments(values) {
  let total = 0, squares = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  const mean = total / values.length;
  for (let i = 0; i < values.length; i++) squares += (values[i] - mean) ** 2;
  return [mean, Math.sqrt(squares / values.length)];
}

/** Whether strokes fill the rectangle around them, at any angle, or are its sides: a thing, or a frame. */
function isSheet({ strokes, width, height }) {
  const box = boxAround(strokes, width, height), [across, along] = [box.width + 1, box.height + 1].sort((a, b) => a - b);
  const { labels, parts } = components(strokes.map((on) => !on), width, height), surrounded = strokes.length - parts[labels[0]].area;
  const filled = strokes.reduce((sum, on) => sum + on, 0), rectangle = across * along;
  return across > BAR * along && (filled > FILLED * rectangle || (surrounded > FULL * rectangle && filled < SIDES * surrounded));
}
