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
