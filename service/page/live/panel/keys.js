// Keys that act as long as they are held.

/** begin(key): called for a key while nothing is typed, returns whether it means something; end(): called when that key is let go. */
export function heldKeys(begin, end) {
  let held = null; // its place on the keyboard: with Shift pressed or let go meanwhile it has another name
  addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input, select, textarea")) return;
    if (begin(event.key)) held = event.code;
  });
  const release = () => {
    held = null;
    end();
  };
  addEventListener("keyup", ({ code }) => code === held && release());
  addEventListener("blur", () => held && release()); // it is let go in another window
}
