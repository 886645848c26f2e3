// The server's record: one EventSource for the page, and what it says at the page's foot.

import { bytes, seconds } from "./units.js";

const SHOWN = 12;
const streams = new Map();
const watchers = new Map();
const listeners = [];
let source = null;
let openFiles = 0;
let waiting = {};

// Call `told(stream, openFiles)` for each news of the streams that bear this name.
export function watch(play, told) {
  watchers.set(play, told);
}

export function unwatch(play) {
  watchers.delete(play);
}

// Call `heard(streams)` for all news.
export function listen(heard) {
  listeners.push(heard);
}

export function connect() {
  if (source) return;
  source = new EventSource("record");
  source.onmessage = (event) => take(JSON.parse(event.data));
}

// A tab that nobody sees leaves its connection to others.
export function disconnect() {
  source?.close();
  source = null;
}

function take({ first, waiting: found, open_files, streams: news }) {
  if (first) streams.clear();
  openFiles = open_files;
  waiting = found;
  for (const stream of news) {
    streams.set(stream.number, stream);
    watchers.get(stream.play)?.(stream, openFiles);
  }
  for (const heard of listeners) heard(news);
  forget();
  show();
}

function forget() {
  const ended = [...streams.values()].filter((stream) => stream.ended);
  for (const stream of ended.slice(0, -SHOWN)) streams.delete(stream.number);
}

export function state(stream) {
  const states = { complete: "complete", disconnect: "left", cancelled: "left" };
  return stream.ended ? states[stream.ended.reason] ?? "cut" : "live";
}

export function describe({ ended }) {
  const error = ended.error ? `: ${ended.error}` : "";
  return `${ended.reason} after ${seconds(ended.duration)}, ${bytes(ended.bytes_sent)}${error}`;
}

function show() {
  const all = [...streams.values()].sort((a, b) => b.number - a.number);
  const last = all.filter((stream) => stream.ended)[0];
  const counts = Object.values(waiting);
  document.getElementById("open-streams").textContent = counts.reduce((sum, n) => sum + n, 0);
  const parts = Object.entries(waiting).map(([what, n]) => `${n} for ${what}`);
  document.getElementById("waiting").textContent = parts.length ? `waiting: ${parts.join(", ")}` : "";
  document.getElementById("open-files").textContent = openFiles;
  if (last) {
    const text = document.getElementById("last");
    text.textContent = `last: ${last.path} ${describe(last)}`;
    text.dataset.state = state(last);
  }
  document.getElementById("ended").replaceChildren(...all.slice(0, SHOWN).map(line));
}

function line(stream) {
  const item = document.createElement("li");
  item.dataset.state = state(stream);
  const name = document.createElement("b");
  name.textContent = stream.path;
  const how = stream.ended ? describe(stream) : `${bytes(stream.sent)} so far`;
  item.append(`${stream.number} `, name, ` ${how}`);
  return item;
}
