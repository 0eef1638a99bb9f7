// What the server has on offer: its models, recordings and cameras.

import { offer } from "./choices.js";
import { hideNotice, notice } from "./notice.js";
import { $, page, token } from "./page.js";
import * as server from "./server.js";

async function loadModels(again) {
  try {
    const list = await server.models(token());
    page.models = list.models;
    $("model").replaceChildren(...list.models.map((model) => new Option(model.name, model.name)));
    $("model").value = list.default;
    $("model").disabled = !list.models.length;
    if (!list.models.length) notice("No model is loaded.", "Start the server with one: spikesight serve --model FOLDER.");
    return true;
  } catch (error) {
    const asks = error.status === 401;
    notice(asks ? "This server asks for a token." : "No models.", asks ? "Enter it in the settings." : error.message, asks ? { label: "Settings", run: () => $("settings").showModal() } : { label: "Try again", run: again });
    return false;
  }
}

/** Fill the lists; play(item) and watch(item) are for what is chosen there. */
export async function load(play, watch) {
  hideNotice();
  if (!(await loadModels(() => load(play, watch)))) return;
  const [samples, cameras] = await Promise.all([server.samples(token()), server.cameras(token())]);
  offer($("samples"), samples, (item) => item.label, (item) => `Play the recording ${item.label}`, play);
  offer($("cameras"), cameras, (item) => item.source, (item) => `Watch ${item.source}`, watch);
}
