// Calls of a teaching session: begin, add files, correct, save. Failures are sentences, as in server.js.

import { ask, call, upload } from "./server.js";

const at = (id, below = "", query = {}) => `v1/teach/${id}${below}${Object.keys(query).length ? `?${new URLSearchParams(query)}` : ""}`;
const blob = async (path, token) => (await call(path, token)).blob();

/** Begin a session on the network that ships for it. */
export const begin = (token) => ask("v1/teach", token, "POST");

/** The session's state once all examples are learnt. */
export const settled = (id, token) => ask(at(id, "", { wait: "1" }), token);

export const show = (id, label, file, token) => upload(at(id, "/examples"), file, { class: label }, token);
export const picture = (id, number, token) => blob(at(id, `/examples/${number}`), token);
export const drop = (id, number, token) => ask(at(id, `/examples/${number}`), token, "DELETE");
export const rename = (id, label, to, token) => ask(at(id, "/classes", { class: label, to }), token, "PATCH");
export const forget = (id, label, token) => ask(at(id, "/classes", { class: label }), token, "DELETE");
export const save = (id, name, token) => ask(at(id, "/save", { name }), token, "POST");
export const archive = (id, name, token) => blob(at(id, "/model.zip", { name }), token);

/** End the session, also while the page is being closed. */
export const end = (id, token) => call(at(id), token, "DELETE", { keepalive: true }).catch(() => {});
