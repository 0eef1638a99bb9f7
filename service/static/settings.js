// The settings panel: values beside their sliders, and who wants to know.

const $ = (id) => document.getElementById(id);
const FORMATS = { threshold: (v) => v.toFixed(2), noise: (v) => `${v} Hz`, decay: (v) => `${(v / 1000).toFixed(1)} s` };

/** decay(ms) and emulator() are told of changes. */
export function settings({ decay, emulator }) {
  for (const [id, format] of Object.entries(FORMATS)) {
    $(id).addEventListener("input", () => {
      const value = Number($(id).value);
      $(`${id}-value`).textContent = format(value);
      if (id === "decay") decay(value);
      else emulator();
    });
  }
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  $("still").checked = calm.matches;
  calm.addEventListener("change", () => ($("still").checked = calm.matches));
}
