// The line that says what went wrong and what to do.

import { $ } from "./dom.js";

/** action: {label, run}, or null. */
export function notice(title, text, action = null) {
  $("notice-title").textContent = title;
  $("notice-text").textContent = text;
  $("notice-action").hidden = !action;
  $("notice-action").textContent = action?.label ?? "";
  $("notice-action").onclick = action ? () => { hideNotice(); action.run(); } : null;
  $("notice").hidden = false;
}

export function hideNotice() {
  $("notice").hidden = true;
}
