// The page's state, readable by every part; changed only by the functions here.

import { $ } from "../shared/dom.js";

export let source = "none"; // none, camera, video, sample, server or file
export let input = null; // the sample, camera of the server or file that is shown
export let paused = false;
export let intro = false; // a recording plays by itself, on the start page
export let comparing = false;
export let teaching = false;
export let models = []; // as GET /v1/models has them
export let samples = []; // as GET /samples has them

/** Switch to another source, unpaused. */
export function setSource(kind, byItself = false) {
  [source, paused, intro] = [kind, false, byItself];
}

export const setInput = (shown) => (input = shown);
export const setPaused = (on) => (paused = on);
export const setMode = (compares, teaches) => ([comparing, teaching] = [compares, teaches]);
export const setModels = (offered) => (models = offered);
export const setSamples = (offered) => (samples = offered);

export const chosenModel = () => models.find((model) => model.name === $("model").value);
/** Whether the source gives frames, which the emulated camera turns into events. */
export const framed = () => source === "camera" || source === "video";
/** The chosen step length in ms, if it is not the model's own. */
export const binMs = () => Number($("bin").value) || null;

/** Whether to look for several things in camera frames. */
export const several = () => $("several").checked && framed() && chosenModel()?.contract.window === "drawing";
export const token = () => $("token").value;
export const stillView = () => $("still").checked;
