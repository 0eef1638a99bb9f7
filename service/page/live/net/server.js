// The page's plain HTTP calls. Every failure becomes one sentence that a person can act on.

import { sentence } from "../../shared/dom.js";

const failure = (status, sentence) => Object.assign(new Error(sentence), { status });
const unreachable = () => failure(0, "The server does not answer. Is it still running?");
const refused = (status, { error } = {}) => failure(status, sentence(typeof error === "string" ? error : `the server answered ${status}: try again`));
const authorised = (token) => (token ? { Authorization: `Bearer ${token}` } : {});

/** Fetch a path; `more`: further options of fetch. */
export async function call(path, token = "", method = "GET", more = {}) {
  const response = await fetch(path, { method, headers: authorised(token), ...more }).catch(() => { throw unreachable(); });
  if (response.ok) return response;
  throw refused(response.status, await response.json().catch(() => ({})));
}

export const models = async (token) => (await call("v1/models", token)).json();

/** Remove a model that was taught and saved. */
export const remove = (name, token) => call(`v1/models/${encodeURIComponent(name)}`, token, "DELETE");

/** List the shipped recordings; a server without any is no error. */
export const samples = (token) => call("samples", token).then((response) => response.json(), () => []);

/** List the cameras that the server opened itself. */
export const cameras = (token) => call("v1/cameras", token).then((response) => response.json(), () => []);

const fetched = new Map();

/** Fetch a shipped recording's t64 events; once, since they never change. */
export function sample(name, token) {
  if (!fetched.has(name)) {
    const bytes = call(`samples/${encodeURIComponent(name)}`, token).then(async (response) => new Uint8Array(await response.arrayBuffer()));
    fetched.set(name, bytes);
    bytes.catch(() => fetched.delete(name));
  }
  return fetched.get(name);
}

/** Send a file and return the JSON answer. */
export async function upload(path, file, query, token) {
  const body = new FormData();
  body.append("file", file, file.name);
  return (await call(`${path}?${new URLSearchParams(query)}`, token, "POST", { body })).json();
}

export const predict = (file, model, token) => upload("v1/predict", file, { steps: "1", ...(model && { model }) }, token);

/** Fetch the input of every step for a sample in one of the encodings. */
export const encode = (file, model, encoding, steps, probe, token) => upload("v1/encode", file, { encoding, steps, ...(model && { model }), ...(probe && { probe: "1" }) }, token);

export const encodings = async (token) => (await call("v1/encodings", token)).json();
