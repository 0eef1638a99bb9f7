// What every part of the page may know: elements by id, what is on, and the model that is chosen.

export const $ = (id) => document.getElementById(id);

export const page = {
  source: "none", // none, camera, sample, server or file
  comparing: false,
  paused: false,
  models: [], // as GET /v1/models has them
  name: "", // of what is shown, for the code
  input: null, // the sample, camera of the server or file that is shown
};

export const chosen = () => page.models.find(({ name }) => name === $("model").value);
export const token = () => $("token").value;
export const still = () => $("still").checked;
