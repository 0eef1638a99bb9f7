// The plain HTTP calls of the page. Every failure is one sentence a person can act on.

async function call(path, options = {}, token = "") {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers, ...options.headers } });
  } catch {
    throw Object.assign(new Error("The server does not answer. Is it still running?"), { status: 0 });
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const sentence = typeof body.error === "string" ? body.error : `The server answered ${response.status}.`;
  throw Object.assign(new Error(sentence), { status: response.status });
}

export const models = async (token) => (await call("v1/models", {}, token)).json();

/** Shipped recordings; a server without any is no error. */
export const samples = (token) => call("samples", {}, token).then((response) => response.json(), () => []);

/** Cameras that the server opened itself. */
export const cameras = (token) => call("v1/cameras", {}, token).then((response) => response.json(), () => []);

export async function sample(name, token) {
  const response = await call(`samples/${encodeURIComponent(name)}`, {}, token);
  return new Uint8Array(await response.arrayBuffer());
}

async function upload(path, file, query, token) {
  const body = new FormData();
  body.append("file", file, file.name);
  return (await call(`${path}?${new URLSearchParams(query)}`, { method: "POST", body }, token)).json();
}

export const predict = (file, model, token) => upload("v1/predict", file, { steps: "1", logits: "1", ...(model && { model }) }, token);

/** The input of every step, as a code turns the sample into spikes. */
export const encode = (file, model, encoding, steps, token) => upload("v1/encode", file, { encoding, steps, ...(model && { model }) }, token);

export const encodings = async (token) => (await call("v1/encodings", {}, token)).json();
