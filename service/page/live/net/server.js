// The page's plain HTTP calls. Every failure becomes one sentence that a person can act on.

import { sentence } from "../../shared/dom.js";

const failure = (status, text) => Object.assign(new Error(text), { status });

/** Fetch a path; `more`: further options of fetch. */
export async function call(path, token = "", method = "GET", more = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { method, headers, ...more }).catch(() => { throw failure(0, "The server does not answer. Is it still running?"); });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw failure(response.status, sentence(typeof error === "string" ? error : `the server answered ${response.status}: try again`));
}

/** As `call`, and the JSON of the answer. */
export const ask = async (...words) => (await call(...words)).json();

export const models = (token) => ask("v1/models", token);
export const encodings = (token) => ask("v1/encodings", token);

export const remove = (name, token) => call(`v1/models/${encodeURIComponent(name)}`, token, "DELETE");

/** List the shipped recordings; a server without any is no error. */
export const samples = (token) => ask("samples", token).catch(() => []);

/** List the cameras that the server opened itself. */
export const cameras = (token) => ask("v1/cameras", token).catch(() => []);

const fetched = new Map();

/** Fetch a shipped recording's t64 events; once, since they never change. */
export function sample(name, token) {
  const bytes = fetched.get(name) ?? call(`samples/${encodeURIComponent(name)}`, token).then(async (response) => new Uint8Array(await response.arrayBuffer()));
  fetched.set(name, bytes);
  bytes.catch(() => fetched.delete(name));
  return bytes;
}

/** Send a file and return the JSON answer. */
export function upload(path, file, query, token) {
  const body = new FormData();
  body.append("file", file, file.name);
  return ask(`${path}?${new URLSearchParams(query)}`, token, "POST", { body });
}

export const predict = (file, model, token) => upload("v1/predict", file, { steps: "1", ...(model && { model }) }, token);

/** Fetch the input of every step for a sample in one of the encodings. */
export const encode = (file, model, encoding, steps, probe, token) => upload("v1/encode", file, { encoding, steps, ...(model && { model }), ...(probe && { probe: "1" }) }, token);
