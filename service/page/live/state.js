// What is on, for every part of the page to read; it changes by the functions here alone.

import { $ } from "../shared/dom.js";

export let source = "none"; // none, camera, sample, server or file
export let name = ""; // of what is shown, for the code
export let input = null; // the sample, camera of the server or file that is shown
export let paused = false;
export let comparing = false;
export let models = []; // as GET /v1/models has them

/** Another source, unpaused. */
export function setSource(kind, called) {
  [source, name, paused] = [kind, called, false];
}

export const setInput = (shown) => (input = shown);
export const setPaused = (on) => (paused = on);
export const setComparing = (on) => (comparing = on);
export const setModels = (offered) => (models = offered);

export const chosenModel = () => models.find((model) => model.name === $("model").value);
export const token = () => $("token").value;
export const stillView = () => $("still").checked;
