// What every part of a page asks the document for: elements by id, and the style sheet's variables.

export const $ = (id) => document.getElementById(id);

/** The value of a variable such as "--accent" under the colour scheme that is on. */
export const cssVariable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
