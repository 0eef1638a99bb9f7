// Calls of a teaching session: begin, add files, correct, save. Failures are sentences, as in server.js.

import { call, upload } from "./server.js";

const at = (id, below = "", query = {}) => `v1/teach/${id}${below}${Object.keys(query).length ? `?${new URLSearchParams(query)}` : ""}`;
const json = (response) => response.json();

/** Begin a session on the network that ships for it. */
export const begin = (token) => call("v1/teach", token, "POST").then(json);

/** The session's state once all examples are learnt. */
export const settled = (id, token) => call(at(id, "", { wait: "1" }), token).then(json);

export const show = (id, label, file, token) => upload(at(id, "/examples"), file, { class: label }, token);
export const picture = (id, number, token) => call(at(id, `/examples/${number}`), token).then((response) => response.blob());
export const drop = (id, number, token) => call(at(id, `/examples/${number}`), token, "DELETE").then(json);
export const rename = (id, label, to, token) => call(at(id, "/classes", { class: label, to }), token, "PATCH").then(json);
export const forget = (id, label, token) => call(at(id, "/classes", { class: label }), token, "DELETE").then(json);
export const save = (id, name, token) => call(at(id, "/save", { name }), token, "POST").then(json);
export const archive = (id, name, token) => call(at(id, "/model.zip", { name }), token).then((response) => response.blob());

/** End the session, also while the page is being closed. */
export const end = (id, token) => call(at(id), token, "DELETE", { keepalive: true }).catch(() => {});
