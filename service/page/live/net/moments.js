// Calls about uncertain moments: list them, fetch their clips, name them.

import { call } from "./server.js";

const json = (response) => response.json();
const at = (number) => `v1/moments/${number}`;

export const waiting = (token) => call("v1/moments", token).then(json);
export const clip = (number, token) => call(at(number), token).then((response) => response.blob());
export const name = (number, label, token) => call(`${at(number)}?${new URLSearchParams({ class: label })}`, token, "POST").then(json);
export const drop = (number, token) => call(at(number), token, "DELETE").then(json);
