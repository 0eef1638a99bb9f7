// The page's state, readable and changed by every part; and what the controls say.

import { $ } from "../shared/dom.js";

export const state = {
  source: "none", // none, camera, video, sample, server or file
  input: null, // the sample, camera of the server or file that is shown
  paused: false,
  intro: false, // a recording plays by itself, on the start page
  comparing: false,
  teaching: false,
  models: [], // as GET /v1/models has them
  samples: [], // as GET /samples has them

  chosenModel: () => state.models.find((model) => model.name === $("model").value),
  /** Whether the source gives frames, which the emulated camera turns into events. */
  framed: () => state.source === "camera" || state.source === "video",
  /** The chosen step length in ms, if it is not the model's own. */
  binMs: () => Number($("bin").value) || null,
  /** Whether to look for several objects in camera frames. */
  several: () => $("several").checked && state.framed() && state.chosenModel()?.contract.task === "detection",
  token: () => $("token").value,
  stillView: () => $("still").checked,
};
