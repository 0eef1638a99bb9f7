// Events as the views and the binner take them.

import { emptyEvents } from "./emulator.js";
import { T64_BYTES, t64Times } from "./wire.js";

const MOST_SHOWN = 4096;

/** At most MOST_SHOWN events, evenly thinned, as EventView.add takes them. */
export function picture({ n, x, y, p }, width, height) {
  const shown = Math.min(n, MOST_SHOWN);
  const pairs = new Uint16Array(2 * shown);
  for (let i = 0; i < shown; i++) {
    const at = Math.floor((i * n) / shown);
    pairs[2 * i] = x[at];
    pairs[2 * i + 1] = y[at] | (p[at] << 15);
  }
  return { width, height, n: shown, pairs };
}

/** Events of the t64 layout. */
export function t64Events(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const times = t64Times(bytes);
  const events = emptyEvents(times.length);
  times.forEach((t, i) => {
    events.t[i] = t;
    events.x[i] = view.getUint16(i * T64_BYTES + 8, true);
    events.y[i] = view.getUint16(i * T64_BYTES + 10, true);
    events.p[i] = view.getUint8(i * T64_BYTES + 12);
  });
  return events;
}
