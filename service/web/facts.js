// What the folder says of its network: model.json, and the pixels of the emulated sensor.

async function read(name) {
  const answered = await fetch(name);
  if (!answered.ok) throw new Error(`the folder lacks ${name}`);
  return answered;
}

/** {facts: model.json, pixels: what an Emulator takes}. */
export async function loadFacts() {
  const facts = await (await read("model.json")).json();
  const { width, height, levels, leak_hz: leakHz } = facts.pixels;
  const values = new Float32Array(await (await read("pixels.f32")).arrayBuffer()); // little-endian, as every browser's
  const [on, off, start] = [0, 1, 2].map((part) => values.subarray(part * width * height, (part + 1) * width * height));
  return { facts, pixels: { width, height, levels: Float32Array.from(levels), on, off, start, leakHz } };
}
