// All streams of the server on one tape: time runs to the left, each stream keeps to a track.

import { state } from "./record.js";
import { prepare } from "./wire.js";

const SPEED = 0.06; // pixels a millisecond
const TRACKS = 7;

export class Tape {
  #canvas;
  #marks = [];
  #asked = false;
  #still = matchMedia("(prefers-reduced-motion: reduce)").matches;

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#ask()).observe(canvas);
  }

  take(streams) {
    const now = performance.now();
    for (const stream of streams) {
      const latest = stream.marks.at(-1)?.[0] ?? 0;
      for (const [at, size] of stream.marks)
        this.#marks.push({ at: now - (latest - at), size, stream, ended: false });
      if (stream.ended) this.#marks.push({ at: now, size: 0, stream, ended: true });
    }
    this.#canvas.ariaLabel = `Chunks of all streams: ${streams.map((s) => s.path).join(", ") || "none"}`;
    this.#ask();
  }

  #ask() {
    if (this.#asked) return;
    this.#asked = true;
    const wait = this.#still ? (draw) => setTimeout(draw, 1000) : requestAnimationFrame;
    wait(() => {
      this.#asked = false;
      this.#draw();
      if (this.#marks.length) this.#ask();
    });
  }

  #draw() {
    const { context, width, height, faint } = prepare(this.#canvas);
    const now = performance.now();
    this.#marks = this.#marks.filter(({ at }) => (now - at) * SPEED < width);
    const step = height / TRACKS;
    context.fillStyle = faint;
    for (let track = 0; track < TRACKS; track += 1)
      context.fillRect(0, Math.round((track + 0.5) * step), width, 1);
    const style = getComputedStyle(this.#canvas);
    const names = [];
    for (const { at, size, stream, ended } of this.#marks) {
      const x = width - (now - at) * SPEED;
      const y = Math.round(((stream.number % TRACKS) + 0.5) * step);
      context.fillStyle = style.getPropertyValue(`--${ended ? state(stream) : "live"}`);
      names[stream.number % TRACKS] = { path: stream.path, y };
      const tall = ended ? step - 4 : 3 + (Math.log2(size + 1) / 20) * (step - 6);
      context.fillRect(x, y - tall / 2, ended ? 4 : 2, tall);
    }
    context.font = `11px ${style.fontFamily}`;
    context.textBaseline = "middle";
    for (const { path, y } of names.filter(Boolean)) {
      context.fillStyle = style.backgroundColor;
      context.fillRect(8, y - step / 2, context.measureText(path).width + 12, step);
      context.fillStyle = style.color;
      context.fillText(path, 14, y + 1);
    }
  }
}
