// The user's controls: lists of models, recordings and cameras, and settings.

import { $, buttonList, hideNotice, notice, on } from "../../shared/dom.js";
import { titleOf } from "../../shared/answer.js";
import { thumbnail } from "../../shared/pictures/thumbnail.js";
import * as server from "../net/server.js";
import { state } from "../state.js";

export const calm = matchMedia("(prefers-reduced-motion: reduce)");
const FORMATS = { threshold: (v) => v.toFixed(2), noise: (v) => `${v} Hz` };

/** Fill the lists; play(item) and watch(item) are called for the user's choice, again() to try again. */
export async function load(play, watch, again) {
  hideNotice();
  const { models, default: first, error } = await server.models(state.token()).catch((failure) => ({ error: failure }));
  if (error?.status === 401) return notice("This server asks for a token.", "Enter it in the settings.", { label: "Settings", run: () => $("settings").showModal() });
  if (error) return notice("No models.", error.message, { label: "Try again", run: again });
  state.models = models;
  $("model").replaceChildren(...models.map((model) => new Option(titleOf(model), model.name)));
  Object.assign($("model"), { value: first, disabled: !models.length });
  if (!models.length) notice("No model is loaded.", "Start the server with one: spikesight serve --model FOLDER.");
  const [samples, cameras] = await Promise.all([server.samples(state.token()), server.cameras(state.token())]);
  const picture = (item) => server.sample(item.name, state.token()).then((bytes) => thumbnail(bytes, item));
  buttonList($("samples"), samples, (item) => item.label.split(",")[0], (item) => `Play the recording ${item.label}`, play, picture);
  buttonList($("cameras"), cameras, (item) => item.source, (item) => `Watch ${item.source}`, watch);
  return (state.samples = samples);
}

const BINS_MS = [1, 2, 5, 10, 20];

/** Offer the settings of the chosen model: step lengths, and to remove it if it was saved here. */
export function offerSettings() {
  const { saved = false, contract = {} } = state.chosenModel() ?? {};
  $("kept").hidden = !saved;
  const { bin_us: own = 0, shortest_bin_us: shortest = 0 } = contract;
  const shorter = BINS_MS.filter((ms) => shortest && 1000 * ms >= shortest && 1000 * ms < own).reverse();
  $("bin").replaceChildren(new Option(`${own / 1000} ms, as trained`, ""), ...shorter.map((ms) => new Option(`${ms} ms`, ms)));
  $("network-settings").hidden = !shorter.length;
}

/** Watch the settings; emulator() is called on changes. */
export function settings(emulator) {
  for (const [id, format] of Object.entries(FORMATS)) {
    on(id, "input", () => {
      $(`${id}-value`).textContent = format(Number($(id).value));
      emulator();
    });
  }
  $("still").checked = calm.matches;
  calm.addEventListener("change", () => ($("still").checked = calm.matches));
}
