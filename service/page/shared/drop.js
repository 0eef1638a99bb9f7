// A file dropped anywhere on the page.

/** Call open(file, event) for a dropped file; `veil` is shown while something is dragged over the page. */
export function dropTarget(veil, open) {
  let depth = 0; // enter and leave come for every element on the way
  addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth++;
    veil.hidden = false;
  });
  addEventListener("dragleave", () => {
    if (--depth <= 0) veil.hidden = true;
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    open(event.dataTransfer.files[0], event);
  });
}
