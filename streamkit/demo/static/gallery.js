// The page: cards come to life, play when they are seen, and stop when they are not.

import { parkAll } from "./card.js";
import * as natives from "./natives.js";
import * as readers from "./readers.js";
import { connect, disconnect, listen } from "./record.js";
import { Tape } from "./tape.js";

const views = { ...natives, ...readers };
const cards = new Map();
for (const element of document.querySelectorAll(".card"))
  cards.set(element, new views[element.dataset.view](element));

const tape = new Tape(document.querySelector(".tape canvas"));
listen((streams) => tape.take(streams));
connect();
// A browser that has gone back to the page keeps no connections.
addEventListener("pagehide", () => {
  parkAll();
  disconnect();
});
addEventListener("pageshow", connect);

// A stream goes on while any of its card is near, and begins by itself where most of it is seen.
// Where a card is, is asked for each time: what an observer has told may be from before a jump.
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const observer = new IntersectionObserver(settle, { threshold: [0, 0.6, 1] });
for (const card of cards.values())
  for (const part of [card.element, card.find(".show")]) observer.observe(part);

function inView(element, margin) {
  const { top, bottom } = element.getBoundingClientRect();
  return bottom > -margin && top < innerHeight + margin;
}

function settle() {
  for (const card of cards.values()) {
    if (document.hidden || !inView(card.element, 100)) card.park();
    else if (card.plays && !calm && inView(card.find(".show"), -150)) card.play();
  }
}

document.addEventListener("visibilitychange", () => {
  settle();
  if (document.hidden) disconnect();
  else connect();
});

// A script may write to the clipboard on a page that came by HTTPS, or from this machine.
for (const button of document.querySelectorAll(".copy")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

const THEMES = ["system", "light", "dark"];
const theme = document.getElementById("theme");
theme.hidden = false;
choose(localStorage.getItem("theme") ?? "system");
theme.addEventListener("click", () => {
  choose(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
});

function choose(name) {
  document.documentElement.dataset.theme = name;
  theme.textContent = `Theme: ${name}`;
  localStorage.setItem("theme", name);
  dispatchEvent(new Event("resize"));
}
