// Cards that read their stream with fetch, and what they make of the chunks.

import { Card } from "./card.js";
import { bytes, count } from "./units.js";

const SCREEN = 4000; // characters that a screen keeps
const MIB = 2 ** 20;

function still() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

// Chunks end anywhere: within a line, and within a character.
class Lines {
  #decoder = new TextDecoder();
  #rest = "";

  take(chunk) {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split("\n");
    this.#rest = lines.pop();
    return lines;
  }
}

// Server-sent events, read with fetch, so that the page keeps the last id itself.
class Events {
  #lines = new Lines();
  #event = {};

  take(chunk) {
    const events = [];
    for (const line of this.#lines.take(chunk)) {
      const [, name, value] = line.match(/^(\w+): ?(.*)/) ?? [];
      if (name) this.#event[name] = value;
      else if (line === "") {
        events.push(this.#event);
        this.#event = {};
      }
    }
    return events;
  }
}

export class Text extends Card {
  reset() {
    this.decoder = new TextDecoder();
    this.screen = this.find(".screen");
    this.screen.textContent = "";
  }

  take(chunk) {
    const text = this.screen.textContent + this.decoder.decode(chunk, { stream: true });
    this.screen.textContent = text.slice(-SCREEN);
    this.screen.scrollTo({ top: this.screen.scrollHeight, behavior: still() ? "auto" : "smooth" });
  }

  told(_, files) {
    if (this.find(".meter")) this.meter("files", files, files);
  }
}

class Table extends Card {
  reset() {
    this.lines = new Lines();
    this.body = this.find("tbody");
    this.body.replaceChildren();
    this.counted = 0;
  }

  show(rows) {
    for (const values of rows.slice(-6)) {
      const row = document.createElement("tr");
      for (const value of values) row.insertCell().textContent = value;
      row.style.setProperty("--full", (values[2] - 15) / 10);
      this.body.prepend(row);
    }
    while (this.body.rows.length > 6) this.body.lastChild.remove();
  }
}

export class Rows extends Table {
  take(chunk) {
    const rows = this.lines.take(chunk).map(JSON.parse);
    this.show(rows.map(({ number, time, celsius }) => [number, time.slice(11, 22), celsius.toFixed(1)]));
  }
}

export class Sheet extends Table {
  take(chunk) {
    const lines = this.lines.take(chunk);
    if (!this.counted) lines.shift();
    this.counted += lines.length;
    const latest = lines.slice(-6).map((line) => line.trim().split(","));
    this.show(latest.map(([number, time, celsius]) => [number, time.slice(11, 22), celsius]));
    this.meter("count", this.counted.toLocaleString("en"), this.counted / 10000);
  }
}

export class Archive extends Card {
  #tail = "";

  reset() {
    this.list = this.find(".members");
    this.list.replaceChildren();
    this.#tail = "";
    this.#count();
  }

  // A local file header: 30 bytes, of which two at 26 are the length of the name after them.
  take(chunk) {
    const data = this.#tail + latin(chunk);
    let from = 0;
    for (;;) {
      const at = data.indexOf("PK\x03\x04", from);
      const length = data.charCodeAt(at + 26) + 256 * data.charCodeAt(at + 27);
      if (at < 0 || at + 30 + length > data.length || Number.isNaN(length)) {
        this.#tail = data.slice(at < 0 ? -3 : at);
        break;
      }
      const item = document.createElement("li");
      item.textContent = data.slice(at + 30, at + 30 + length);
      this.list.append(item);
      from = at + 30 + length;
    }
    this.#count();
  }

  #count() {
    const members = this.list.children.length;
    this.meter("count", members, members / 14);
  }
}

function latin(chunk) {
  return new TextDecoder("latin1").decode(chunk);
}

export class Firehose extends Card {
  reset() {
    this.told({ made: 0, sent: 0 });
  }

  told({ made, sent }) {
    const ahead = Math.max(0, made - sent);
    this.element.dataset.ahead = ahead;
    this.element.dataset.made = made;
    const most = Math.max(made, 1);
    for (const [name, size] of [["made", made], ["sent", sent], ["got", this.received]])
      this.meter(name, bytes(size), size / most);
    this.meter("ahead", `${Math.round(ahead / 1024)} KiB`, ahead / 65536);
  }
}

export class Download extends Card {
  #position = 0;
  #etag = null;

  play() {
    // With If-Range, a file that has changed meanwhile is sent from its beginning, with a 200.
    const resumes = this.#etag && this.#position < this.find("progress").max;
    const range = { "Range": `bytes=${this.#position}-`, "If-Range": this.#etag };
    super.play("", {}, resumes ? range : {});
  }

  answer(response) {
    super.answer(response);
    if (response.status === 200) {
      this.#position = 0;
      this.find("progress").max = Number(response.headers.get("content-length"));
    }
    this.#etag = response.headers.get("etag");
  }

  take(chunk) {
    const bar = this.find("progress");
    bar.value = this.#position += chunk.length;
    this.find(".position").textContent =
      `${Math.floor(this.#position / MIB)} of ${Math.ceil(bar.max / MIB)} MiB`;
  }
}

export class Stored extends Text {
  #etag = null;
  #total = 0;

  reset() {
    super.reset();
    this.find(".spans").replaceChildren();
  }

  range(span) {
    this.play("", {}, { Range: `bytes=${span}` });
  }

  revalidate() {
    this.play("", {}, this.#etag ? { "If-None-Match": this.#etag } : {});
  }

  answer(response) {
    super.answer(response);
    const { status, headers } = response;
    this.#etag = headers.get("etag") ?? this.#etag;
    const range = headers.get("content-range");
    this.#total = Number(range?.split("/")[1] ?? headers.get("content-length")) || this.#total;
    const start = Number(range?.match(/ (\d+)-/)?.[1] ?? 0);
    this.span = document.createElement("i");
    this.span.style.setProperty("--start", start / this.#total);
    this.find(".spans").append(this.span);
    this.screen.dataset.status = status;
    if (status === 304) this.screen.textContent = "304: what you have is still good, no byte was read";
    if (status === 416) this.screen.textContent = "416: there is nothing at that place";
  }

  take(chunk) {
    super.take(chunk);
    this.span.style.setProperty("--length", this.received / this.#total);
  }
}

export class Race extends Card {
  #lines = { ours: 0, theirs: 0 };

  async play() {
    this.begin();
    const name = this.name;
    this.abort = new AbortController();
    try {
      const ours = await this.#run("ours", "race/streamkit", name);
      const theirs = await this.#run("theirs", "race/starlette", name);
      if (this.name !== name || !this.live) return;
      this.find(".ratio output").textContent = (ours / theirs).toFixed(0);
      this.end("complete", `${count(Math.round(ours), "line")} a second, against ${Math.round(theirs).toLocaleString("en")}.`);
    } catch (error) {
      if (this.name === name && this.live) this.end("cut", `The race was cut: ${error.message}.`);
    }
  }

  reset() {
    for (const side of ["ours", "theirs"]) this.#show(side, 0, 0);
    this.find(".ratio output").textContent = "?";
  }

  // Lines a second from the request to the last line, counted where they arrive.
  async #run(side, path, name) {
    const began = performance.now();
    const { signal } = this.abort;
    const response = await fetch(`${path}?play=${name}`, { signal, cache: "no-store" });
    this.answer(response);
    const reader = response.body.getReader();
    let lines = 0;
    let rate = 0;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return rate;
      this.got(value.length);
      // Every line has twelve bytes.
      lines += value.length / 12;
      rate = (lines * 1000) / (performance.now() - began);
      this.#show(side, lines, rate);
    }
  }

  #show(side, lines, rate) {
    this.meter(side, `${Math.round(rate).toLocaleString("en")} lines/s`, lines / 20000);
  }
}

// What a reload must not lose is kept beside the page: the run, the last id, and the text so far.
export class Lasting extends Card {
  #kept = JSON.parse(sessionStorage.getItem("lasting") ?? "null");
  #events = new Events();
  #missed = null;

  constructor(element) {
    super(element);
    this.#show();
    if (this.#kept?.reloads) this.comeBack();
  }

  reset() {
    this.#events = new Events();
  }

  play() {
    this.#kept = { run: crypto.randomUUID?.() ?? String(Math.random()), last: "", text: "" };
    this.#missed = null;
    this.#show();
    super.play("", { run: this.#kept.run });
  }

  comeBack() {
    if (!this.#kept || this.live) return;
    this.#kept.reloads = false;
    // What comes at once was said meanwhile.
    this.#missed = document.createElement("mark");
    this.find(".screen").append(this.#missed);
    super.play("", { run: this.#kept.run }, this.#kept.last ? { "Last-Event-ID": this.#kept.last } : {});
  }

  reload() {
    if (this.#kept) {
      this.#kept.reloads = true;
      this.#keep();
    }
    location.reload();
  }

  take(chunk) {
    for (const { id, data } of this.#events.take(chunk)) {
      if (id) this.#kept.last = id;
      if (data === undefined) continue;
      this.#kept.text += data;
      (this.#missed ?? this.find(".screen")).append(data);
    }
    if (this.#missed?.textContent) this.#missed = null;
    this.#keep();
  }

  #keep() {
    sessionStorage.setItem("lasting", JSON.stringify(this.#kept));
  }

  #show() {
    this.find(".screen").textContent = this.#kept?.text ?? "";
  }
}

export class Counter extends Card {
  #events = new Events();

  reset() {
    this.#events = new Events();
  }

  take(chunk) {
    for (const { data } of this.#events.take(chunk))
      if (data !== undefined) this.find(".number").textContent = data;
  }

  async add() {
    if (!this.live) this.play();
    await fetch(this.path, { method: "POST" });
  }

  another() {
    open(`${location.pathname}#${this.element.getAttribute("aria-labelledby")}`);
  }
}

// The page reads plain bytes; the record knows how many the server sent.
export class Compressed extends Rows {
  reset() {
    super.reset();
    this.told();
  }

  answer(response) {
    super.answer(response);
    this.find(".ratio output").textContent = response.headers.get("content-encoding") ?? "none";
  }

  take(chunk) {
    super.take(chunk);
    this.told();
  }

  told() {
    this.meter("plain", bytes(this.received), this.received);
    this.meter("coded", bytes(this.sent), this.sent / Math.max(this.received, 1));
  }
}

export class Limited extends Card {
  // A stream that is open keeps its place.
  play() {
    if (this.live) this.more();
    else super.play();
  }

  reset() {
    this.find(".requests").replaceChildren();
    this.take();
  }

  answer(response) {
    super.answer(response);
    this.#note(response);
  }

  take() {
    const flows = this.status === 200;
    const rate = flows ? (this.received * 1000) / Math.max(this.wire.elapsed, 1000) : 0;
    this.meter("rate", bytes(rate), rate / 20000);
  }

  // A request beside the stream that is open. Without one, it is that stream.
  async more() {
    if (!this.live) return this.play();
    const response = await fetch(this.path, { cache: "no-store" });
    response.body.cancel();
    this.#note(response);
  }

  #note({ status, statusText, headers }) {
    const item = document.createElement("li");
    const later = headers.get("retry-after");
    item.textContent = `${status} ${statusText}${later ? `, Retry-After: ${later}` : ""}`;
    this.find(".requests").append(item);
  }
}
