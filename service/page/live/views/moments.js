// A strip of moments in which the model of the server's cameras was uncertain: one click names each.

import { $ } from "../../shared/dom.js";
import { notice } from "../../shared/notice.js";
import * as calls from "../net/moments.js";
import * as state from "../state.js";

const EVERY_MS = 2000, GUESSES = 3;
const element = (tag, more) => Object.assign(document.createElement(tag), more);

export class Moments {
  constructor() {
    this.shown = new Map(); // by number: {root, url}
  }

  /** Fetch the moments now and again while the page is visible; not from a server that keeps none. */
  async watch() {
    clearTimeout(this.timer);
    const body = document.hidden ? null : await calls.waiting(state.token()).catch(() => null);
    if (body) this.update(body);
    if (body?.most !== 0) this.timer = setTimeout(() => this.watch(), EVERY_MS);
  }

  update({ moments }) {
    const waiting = new Map(moments.map((moment) => [moment.number, moment]));
    for (const [number, { root, url }] of this.shown) {
      if (waiting.has(number)) continue;
      root.remove();
      if (url) URL.revokeObjectURL(url);
      this.shown.delete(number);
    }
    for (const moment of moments) if (!this.shown.has(moment.number)) this.add(moment);
    $("moments").hidden = !this.shown.size;
  }

  add(moment) {
    const { number, time, label, guesses, steps } = moment;
    const at = new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const root = element("li", { className: "moment" });
    const clip = element("div", { className: "clip", role: "img", ariaLabel: `What was seen at ${at}` });
    clip.style.setProperty("--steps", steps);
    const names = element("div", { className: "names" });
    for (const guess of guesses.slice(0, GUESSES)) names.append(this.button(guess, `It was ${guess}`, () => this.say(number, guess)));
    if (guesses.length > GUESSES) {
      const others = element("select", { ariaLabel: "It was another class" });
      others.append(new Option("other…", ""), ...guesses.slice(GUESSES).map((guess) => new Option(guess)));
      others.addEventListener("change", () => this.say(number, others.value));
      names.append(others);
    }
    names.append(this.button("✕", "Let it go", () => this.ask(calls.drop(number, state.token()), number)));
    root.append(clip, element("p", { className: "note", textContent: `${at} · ${label}?` }), names);
    const kept = { root, url: "" };
    this.shown.set(number, kept);
    $("moments-list").append(root);
    calls.clip(number, state.token()).then((blob) => {
      if (this.shown.get(number) !== kept) return;
      kept.url = URL.createObjectURL(blob);
      clip.style.backgroundImage = `url(${kept.url})`;
    }, () => {});
  }

  button(textContent, ariaLabel, run) {
    const button = element("button", { type: "button", textContent, ariaLabel });
    button.addEventListener("click", run);
    return button;
  }

  async say(number, label) {
    if (await this.ask(calls.name(number, label, state.token()), number)) $("moments-live").textContent = `Learnt: that was ${label}.`;
  }

  /** Make a call and show the moments afterwards; resolves to whether it succeeded. */
  async ask(asked, number = -1) {
    const root = this.shown.get(number)?.root;
    root?.toggleAttribute("inert", true);
    try {
      this.update(await asked);
      return true;
    } catch (error) {
      notice("That did not work.", error.message);
      root?.toggleAttribute("inert", false);
      this.watch();
      return false;
    }
  }
}
