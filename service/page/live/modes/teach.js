// Teach classes live: shown to the camera while a button is held, learnt by the server, recognised at once.

import { Answer } from "../../shared/answer.js";
import { $, element, hideNotice, notice, on, sentence } from "../../shared/dom.js";
import * as calls from "../net/teaching.js";
import { tell } from "../panel/connection.js";
import { state } from "../state.js";
import { Card } from "../views/teachcard.js";
import { OneStream } from "./onestream.js";

const CARDS = 3, MOST = 32, ADVICE = 3;
const BACKGROUND = "background", BACKGROUND_MS = 6000;

export class Teach extends OneStream {
  /** parts: as OneStream's, and saved(name): called when a model is saved. */
  constructor(parts) {
    super(parts);
    Object.assign(this, { session: null, cards: [], card: null, latest: null });
    this.answer = new Answer($("answer"));
    on("teach-add", "click", () => this.add().name.select());
    on("teach-background", "click", () => this.background());
    on("teach-again", "click", () => this.over());
    on("teach-keep", "submit", (event) => { event.preventDefault(); this.save(); });
    on("teach-download", "click", () => this.download());
    this.listenForKeys();
    addEventListener("pagehide", () => this.session && calls.end(this.session.id, state.token()));
  }

  // ---- the session on the server

  /** The session's state; begins a session when first needed. */
  async needed() {
    this.asked ??= calls.begin(state.token()).catch((error) => { this.asked = null; throw error; });
    const body = await this.asked;
    if (!this.session) this.update(body);
    return this.session;
  }

  /** Show the session's new state. */
  update(body) {
    if (body.id === this.gone || (this.session && body.id !== this.session.id)) return;
    this.session = body;
    if (body.learning && !this.stream.ready) this.settle();
    const empty = new Set(this.cards);
    for (const { label, examples } of body.classes) {
      if (this.back.has(label) && !this.cards.some((card) => card.label === label)) continue; // a message from before it was taken back
      const card = this.cardOf(label, examples);
      card.update(examples, body.window_ms);
      empty.delete(card);
    }
    for (const card of empty) card.update([]);
    this.showScore();
  }

  /** The card of a class: by its name; by the name that files were sent with, or by examples, if the server has not heard of
      the card's new name; else one without examples. */
  cardOf(label, examples) {
    const known = this.cards.find((card) => card.label === label) ?? this.cards.find(({ sent }) => sent === label) ?? this.cards.find(({ shown }) => examples.some((number) => shown.has(number)));
    if (known) return known;
    const card = this.cards.find(({ shown }) => !shown.size) ?? this.add();
    card.call(label);
    return card;
  }

  /** Wait for the end of learning, if there is no stream that reports it. */
  async settle() {
    if (this.settling) return;
    this.settling = true;
    const body = await calls.settled(this.session.id, state.token()).catch(() => null);
    this.settling = false;
    if (body) this.update(body);
  }

  showScore() {
    const { expected = [], ready, advice = [], can_save: canSave, quiet, learning } = this.session ?? {};
    const [first = ready ? "it answers already" : "show two objects, and it begins to answer", ...rest] = expected;
    $("teach-score").textContent = sentence(first);
    $("teach-same").textContent = rest.map(sentence).join(" ");
    $("teach-score").classList.toggle("learning", Boolean(learning));
    const said = quiet ? ["Keep it moving: only change is seen."] : ready ? advice.slice(0, ADVICE) : [];
    $("teach-advice").replaceChildren(...said.map((text) => element("li", "", sentence(text))));
    for (const id of ["teach-save", "teach-download"]) $(id).disabled = !ready;
    $("teach-save").hidden = !canSave;
  }

  /** Return the result of a call to the session, or null if it failed, after showing a notice. */
  async ask(call) {
    let session = null;
    try {
      session = await this.needed();
      const body = await call(session.id, state.token());
      if (body?.type === "teaching") this.update(body);
      return body;
    } catch (error) {
      // Not worth a notice: what a former session answers, and that something was taken back already, as by a second click.
      const late = session && (session.id !== this.session?.id || (error.status === 404 && !/teaching session/.test(error.message)));
      if (!late) this.failed(error.message, error.status);
      return null;
    }
  }

  failed(text, status = 0) {
    this.show(this.card, false);
    if (status === 404) this.forgotten();
    notice("That did not work.", text);
  }

  /** The server has forgotten the session: begin another one when needed. */
  forgotten() {
    this.gone = this.session?.id;
    this.session = this.asked = null;
    for (const card of this.cards) card.update([]);
    this.showScore();
  }

  async over() {
    const { session } = this;
    this.stream.close();
    if (session) await calls.end(session.id, state.token());
    this.forgotten();
    this.deal();
    this.reopen();
  }

  /** The model's name; a folder has no blanks. */
  get name() {
    return $("teach-name").value.trim().replace(/\s+/g, "-") || "my-objects";
  }

  async save() {
    const { name } = this, body = await this.ask((id, token) => calls.save(id, name, token));
    if (!body) return;
    await this.saved(body.saved);
    notice("Saved and served.", `Everybody who uses this server finds ${body.saved} among the models now.`);
  }

  async download() {
    const { name } = this, blob = await this.ask((id, token) => calls.archive(id, name, token));
    if (!blob) return;
    const link = element("a", { href: URL.createObjectURL(blob), download: `${name}.zip` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  // ---- the cards

  deal() {
    this.cards = [];
    this.back = new Set(); // names of classes that were taken back
    $("teach-cards").replaceChildren();
    while (this.cards.length < CARDS) this.add();
  }

  add() {
    const taken = new Set(this.cards.map(({ number }) => number));
    let number = 1;
    while (taken.has(number)) number++;
    const hear = {
      show: (card, on) => this.show(card, on),
      rename: (card, to) => this.rename(card, to),
      forget: (card) => this.forget(card),
      drop: (example) => this.ask((id, token) => calls.drop(id, example, token)),
      files: (card, files) => this.files(files, card),
    };
    const card = new Card(number, hear, (example) => calls.picture(this.session.id, example, state.token()));
    this.cards.push(card);
    this.cards.sort((a, b) => a.number - b.number);
    $("teach-cards").replaceChildren(...this.cards.map(({ root }) => root));
    $("teach-add").disabled = this.cards.length >= MOST;
    return card;
  }

  /** Add a class "background": the scene without any of the objects, shown for a while. */
  background() {
    const card = this.cards.find(({ label }) => label === BACKGROUND) ?? this.cards.find((one) => !one.shown.size && /^Class \d+$/.test(one.label)) ?? this.add();
    card.call(BACKGROUND);
    this.show(card, true);
    clearTimeout(this.timer);
    if (this.card === card) this.timer = setTimeout(() => this.show(card, false), BACKGROUND_MS);
  }

  async rename(card, to) {
    const before = card.label;
    if (!to || to === before || this.cards.some(({ label }) => label === to)) return card.call(before);
    card.call(to);
    await card.sending; // their answer has the name that they were sent with
    if (card.shown.size && !(await this.ask((id, token) => calls.rename(id, before, to, token)))) return card.call(before);
    if (this.card === card) this.stream.command({ type: "show", class: to });
    return undefined;
  }

  async forget(card) {
    this.show(card, false);
    if (card.shown.size && !(await this.ask((id, token) => calls.forget(id, card.label, token)))) return;
    this.back.add(card.label);
    this.cards = this.cards.filter((other) => other !== card);
    card.root.remove();
    $("teach-add").disabled = false;
    ($("teach-cards").querySelector("input") ?? $("teach-add")).focus();
  }

  /** Start or stop showing a class. */
  show(card, on) {
    if (!card || (on ? this.card === card : this.card !== card)) return;
    if (on && !this.stream.ready) {
      notice("Nothing is seen yet.", "Start the camera or play a video, then hold the button. Or add recordings to the class.");
      return;
    }
    clearTimeout(this.timer);
    if (on) hideNotice();
    this.card?.showing(false);
    this.card = on ? card : null;
    this.stream.command({ type: "show", class: on ? card.label : null });
    card.showing(on);
    $("teach-live").textContent = on ? `Showing ${card.label}: turn it, bring it nearer.` : `${card.label}: ${card.count.textContent}.`;
  }

  /** Keys 1 to 9 act as the classes' buttons, as long as they are held. */
  listenForKeys() {
    let held = null; // its place on the keyboard: with Shift pressed or let go meanwhile it has another name
    addEventListener("keydown", ({ key, code, repeat, ctrlKey, altKey, metaKey, target }) => {
      if (!state.teaching || $("settings").open || repeat || ctrlKey || altKey || metaKey || target.matches("input, select, textarea")) return;
      const card = this.cards.find(({ number }) => String(number) === key);
      if (card) held = code;
      this.show(card, true);
    });
    const release = () => {
      held = null;
      this.show(this.card, false);
    };
    addEventListener("keyup", ({ code }) => code === held && release());
    addEventListener("blur", () => held && release()); // it is let go in another window
  }

  /** Upload recordings as examples of this class, or of the class they were dropped on. */
  files(files, card = this.cards[0] ?? this.add(), { clientX, clientY } = {}) {
    const under = clientX === undefined ? null : document.elementsFromPoint(clientX, clientY).find((element) => element.closest(".card"));
    const to = this.cards.find(({ root }) => root === under?.closest(".card")) ?? card;
    return (to.sending = this.send(files, to, to.label, to.sending));
  }

  /** Upload one after another what comes after `earlier` uploads, until the card is gone. */
  async send(files, to, label, earlier) {
    await earlier;
    to.sent = label;
    for (const file of files) {
      if (!this.cards.includes(to)) return;
      const body = await this.ask((id, token) => calls.show(id, label, file, token));
      if (!body || !this.cards.includes(to)) return;
      this.update(body.teaching);
      $("teach-live").textContent = `${file.name}: ${body.taken.length} examples of ${to.label}.`;
      if (!body.taken.length) notice("Nothing to learn from.", `Hardly anything moves in ${file.name}, or it is shorter than ${body.teaching.window_ms} ms.`);
    }
  }

  // ---- interface of all modes for sources

  clear() {
    if (!this.cards.length) this.deal();
    this.latest = null;
    this.answer.clear();
    this.events.clear();
    this.showScore();
  }

  close() {
    this.show(this.card, false);
    this.view = null;
    this.stream.close();
    document.body.removeAttribute("data-answering");
    for (const card of this.cards) card.answered(false);
    tell("idle");
  }

  /** Open a stream of frames or events of width x height, or of a camera of the server (source). */
  async open({ width, height, source }) {
    const view = (this.view = { width, height, source });
    this.events.resize(width, height);
    const session = await this.needed().catch((error) => this.failed(error.message, error.status));
    if (!session || this.view !== view) return;
    this.stream.open({ teaching: session.id, token: state.token() || undefined, width, height, picture: true, ...(source && { source, live: true }) });
  }

  reopen() {
    if (this.view) this.open(this.view);
  }

  changed(status, why) {
    if (status !== "live") this.show(this.card, false);
    if (status !== "refused" || !/session/.test(why.reason)) return super.changed(status, why);
    this.forgotten();
    return this.reopen();
  }

  /** The stream runs on a model of the session: the initial one without classes, or a newer one. */
  begin(message) {
    this.latest = null;
    this.labels = message.labels;
    const taught = message.labels.length > 1;
    if (taught) this.answer.setLabels(message.labels);
    document.body.toggleAttribute("data-answering", taught);
  }

  prediction(message) {
    if (!state.paused) this.latest = message;
  }

  file(file) {
    return this.files([file]);
  }

  draw(nowMs) {
    const { latest } = this;
    this.events.draw(nowMs, state.paused);
    if (!latest || this.labels.length < 2) return;
    this.answer.show(latest, nowMs, this.tooSlow(nowMs));
    for (const card of this.cards) card.answered(card.label === latest.label);
  }
}
