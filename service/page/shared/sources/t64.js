// Events as bytes, 13 each: t u64 in microseconds, x u16, y u16, on u8, little-endian.

export const T64_BYTES = 13;

/** Microsecond times of t64 events (exact up to 2^53). */
export function t64Times(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const n = Math.floor(bytes.byteLength / T64_BYTES);
  const times = new Float64Array(n);
  for (let i = 0; i < n; i++) times[i] = Number(view.getBigUint64(i * T64_BYTES, true));
  return times;
}

/** The same events, `offsetUs` later. */
export function shiftT64(bytes, offsetUs) {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  const offset = BigInt(Math.round(offsetUs));
  for (let at = 0; at + T64_BYTES <= copy.byteLength; at += T64_BYTES) view.setBigUint64(at, view.getBigUint64(at, true) + offset, true);
  return copy;
}

/** Count the events of each pixel; `most`: what all but the busiest 2 % of lit pixels stay below. */
export function exposure(bytes, width, height) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const counts = new Uint32Array(width * height);
  for (let at = 0; at + T64_BYTES <= bytes.byteLength; at += T64_BYTES) {
    const x = view.getUint16(at + 8, true), y = view.getUint16(at + 10, true);
    if (x < width && y < height) counts[y * width + x]++;
  }
  const lit = counts.filter((count) => count > 0).sort();
  return { counts, most: Math.max(1, lit[Math.floor(0.98 * (lit.length - 1))] ?? 1) };
}
