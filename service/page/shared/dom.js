// Document helpers: elements by id, and the style sheet's variables.

export const $ = (id) => document.getElementById(id);

/** The value of a CSS variable such as "--accent" under the present colour scheme. */
export const cssVariable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

if (!cssVariable("--event-ground")) {
  // Not every browser delays modules until the style sheet is loaded.
  await new Promise((go) => document.querySelector("link[rel=stylesheet]").addEventListener("load", go, { once: true }));
}

/** A variable of colours.css as [r, g, b]. */
export const rgb = (name) => cssVariable(name).match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
