// A card: one stream at a time, what it shows, and what both ends say of it.

import { describe, unwatch, watch } from "./record.js";
import { bytes, count, seconds } from "./units.js";
import { Wire } from "./wire.js";

const BADGES = { idle: "idle", live: "live", stalled: "stalled", complete: "complete" };
let plays = 0;
const page = Math.random().toString(36).slice(2, 10);

// HTTP/1.1 gives a page six connections to a server. The record takes one and another is left for
// seeking and for the page itself, so that four streams may be open. A fifth parks the oldest, and
// a stream that nobody can see is closed.
const MOST = 4;
const open = [];

function enter(card) {
  leave(card);
  open.push(card);
  while (open.length > MOST) open[0].park();
}

function leave(card) {
  const at = open.indexOf(card);
  if (at >= 0) open.splice(at, 1);
}

export function parkAll() {
  for (const card of [...open]) card.park();
}

export class Card {
  constructor(element) {
    this.element = element;
    this.path = element.dataset.path;
    this.wire = new Wire(this.find(".wire canvas"));
    this.parked = false;
    for (const button of element.querySelectorAll("[data-does]"))
      button.addEventListener("click", () => this.press(button));
    this.#say("idle");
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  // What a meter says, and how much of its bar is full.
  meter(name, text, full) {
    this.find(`output.${name}`).textContent = text;
    this.find(`.${name}-bar`).style.setProperty("--full", Math.min(full, 1));
  }

  press({ dataset, ariaDisabled }) {
    if (ariaDisabled !== "true") this[dataset.does](dataset.value);
  }

  // What a kind of card shows: emptied, given bytes, and what is asked for.
  reset() {}
  take() {}
  told() {}

  get live() {
    return this.state === "live" || this.state === "stalled";
  }

  // Whether it begins when it is seen: the first time, and after it was parked.
  get plays() {
    return "auto" in this.element.dataset && (this.state === "idle" || this.parked);
  }

  play(_, query = {}, headers = {}) {
    this.begin();
    const search = new URLSearchParams({ ...query, play: this.name });
    this.#read(`${this.path}?${search}`, headers, this.name);
  }

  fail(at) {
    this.play("", { fail: at });
  }

  // Make room for a stream, and name it so that the server's record can be told apart.
  begin() {
    if (this.live) this.stop();
    unwatch(this.name);
    enter(this);
    plays += 1;
    this.name = `${page}-${plays}`;
    this.parked = false;
    this.received = this.chunks = this.sent = this.status = 0;
    this.reset();
    this.wire.begin();
    this.find(".browser").textContent = this.find(".server").textContent = "";
    this.find(".headers pre").textContent = "";
    watch(this.name, (stream, files) => this.#hear(stream, files));
    this.#say("live");
    this.figures();
  }

  // Let go of the stream, without a word.
  stop() {
    this.abort?.abort();
    this.resume?.();
    leave(this);
  }

  leave() {
    if (!this.live) return;
    this.stop();
    this.end("left", `You left after ${this.took()}.`);
    this.find(".server").textContent ||= "Waiting for the server's on_close.";
  }

  // Nobody sees it any more, or others need its connection.
  park() {
    leave(this);
    if (!this.live) return;
    this.leave();
    this.parked = true;
  }

  stall() {
    if (this.state !== "live" && this.state !== "stalled") return;
    if (this.resume) this.resume();
    else {
      this.gate = new Promise((open) => {
        this.resume = () => {
          this.resume = this.gate = null;
          if (this.live) this.#say("live");
          open();
        };
      });
      this.#say("stalled");
    }
  }

  end(state, text) {
    leave(this);
    this.wire.end(state);
    this.#say(state);
    this.figures();
    this.find(".browser").textContent = text;
  }

  took() {
    return `${seconds(this.wire.elapsed / 1000)}, with ${bytes(this.received)}`;
  }

  async #read(url, headers, name) {
    const abort = (this.abort = new AbortController());
    const here = () => this.name === name && !abort.signal.aborted;
    try {
      const response = await fetch(url, { headers, signal: abort.signal, cache: "no-store" });
      this.answer(response);
      const reader = response.body?.getReader();
      while (reader) {
        await this.gate;
        const { value, done } = await reader.read();
        if (done || !here()) break;
        this.got(value.length);
        this.take(value);
      }
      if (here()) this.end("complete", `The browser saw a whole body: ${this.took()}.`);
    } catch (error) {
      if (here()) this.end("cut", `The browser saw the body cut (${error.message}): ${this.took()}.`);
    }
  }

  got(size) {
    this.received += size;
    this.chunks += 1;
    this.wire.got(size);
    // Thousands of chunks may come in a second: figures are for eyes.
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      this.figures();
    });
  }

  answer({ status, headers }) {
    this.showHeaders(status, [...headers]);
  }

  showHeaders(status, headers) {
    this.status = status;
    const lines = headers.map(([name, value]) => `${name}: ${value}`);
    this.find(".headers pre").textContent = [status, ...lines].join("\n");
    this.find(".headers summary").textContent = `Status ${status} and ${lines.length} headers`;
  }

  figures() {
    const size = this.received || this.sent;
    const text = this.wire.describe(this.chunks, size);
    const rate = `${bytes((size * 1000) / Math.max(this.wire.elapsed, 1))}/s`;
    this.find(".figures").textContent = `${text}, ${rate}`;
  }

  #hear(stream, files) {
    this.sent = stream.sent;
    for (const [at, size] of stream.marks) this.wire.mark("server", at, size);
    if (!this.status && stream.status) this.showHeaders(stream.status, stream.headers);
    this.told(stream, files);
    this.wire.ask();
    if (stream.ended)
      this.find(".server").textContent =
        `on_close on the server: ${describe(stream)}. Content closed, ${count(files, "file")} open.`;
  }

  #say(state) {
    this.state = this.element.dataset.state = state;
    this.find(".badge").textContent = BADGES[state] ?? state;
    const live = this.live;
    for (const button of this.element.querySelectorAll("[data-does=leave], [data-does=stall]"))
      button.ariaDisabled = String(!live);
    const stall = this.find("[data-does=stall]");
    if (stall) stall.textContent = state === "stalled" ? "Read on" : "Stall me";
  }
}
