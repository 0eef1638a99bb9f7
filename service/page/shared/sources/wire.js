// The bytes of the stream protocol: pure functions, no sockets, no page.

export const KIND = { image: 0, t64: 1 };
export const T64_BYTES = 13;
const HEADER_BYTES = 16;

/** One message to the server: seq u32, capture time f64 (ms), kind u8, three zero bytes, then the payload. */
export function message(seq, captureMs, kind, payload) {
  const bytes = new Uint8Array(HEADER_BYTES + payload.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, seq, true);
  view.setFloat64(4, captureMs, true);
  view.setUint8(12, kind);
  bytes.set(new Uint8Array(payload.buffer ?? payload, payload.byteOffset ?? 0, payload.byteLength), HEADER_BYTES);
  return bytes;
}

/** A picture of the latest events: {seq, step, width, height, x, y, on}; polarity is the top bit of y. */
export function parsePicture(buffer) {
  const view = new DataView(buffer);
  const n = view.getUint32(8, true);
  const pairs = new Uint16Array(buffer, HEADER_BYTES, 2 * n);
  return {
    seq: view.getUint32(0, true), step: view.getUint32(4, true),
    width: view.getUint16(12, true), height: view.getUint16(14, true), n, pairs,
  };
}

/** Base64 of packed bits, most significant first -> one byte a bit. */
export function unpackBits(text, rows) {
  const packed = atob(text);
  const bits = new Uint8Array(rows);
  for (let row = 0; row < rows; row++) bits[row] = (packed.charCodeAt(row >> 3) >> (7 - (row & 7))) & 1;
  return bits;
}

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

/** How many events each pixel had; `most` is what all but the busiest 2 % of lit pixels stay below. */
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
