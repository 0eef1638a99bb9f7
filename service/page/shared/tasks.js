// What a model is for, in words, derived from its labels.

const TASKS = [
  {
    fits: (labels) => labels.join("") === "0123456789",
    title: "Digits", unknown: "no digit here", nothing: "nothing to see",
    hint: "Take paper and a thick pen, write a digit, and sway it a little before the camera.",
  },
  {
    fits: (labels) => labels.includes("left") && labels.includes("right"),
    title: "Motions", unknown: "no motion it knows", nothing: "nothing moves",
    hint: "Move your hand: left, right, up, down, around, towards the camera, away from it.",
  },
  {
    fits: () => true,
    title: "", unknown: "nothing it knows", nothing: "nothing to see",
    hint: "Hold what it has learnt before the camera, and move it a little.",
  },
];
const ORIGINS = { direct: "", converted: ", converted", ann: ", ANN" };

/** {title, hint, unknown, nothing}: the words for a model with these labels. */
export const taskOf = (labels) => TASKS.find(({ fits }) => fits(labels ?? []));

/** "Digits from events": the task of an entry of GET /v1/models, with its name if another has the same task, or alone. */
export function titleOf(model, models = []) {
  const plain = ({ labels, contract, origin }) => (taskOf(labels).title ? `${taskOf(labels).title} from ${contract.kind === "events" ? "events" : "pictures"}${ORIGINS[origin] ?? ""}` : "");
  const title = plain(model);
  if (!title) return model.name;
  return models.filter((other) => plain(other) === title).length > 1 ? `${title} (${model.name})` : title;
}
