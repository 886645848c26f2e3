// A time line of chunks: what the server has sent above the wire, what the browser got below.

import { bytes, count, seconds } from "./units.js";

const SPAN = 6000; // milliseconds that a time line shows at least
const MOST = 12000; // and at most: then it moves
const KEPT = 2000;

export class Wire {
  #canvas;
  #lanes = { server: [], browser: [] };
  #began = 0;
  #ended = 0;
  #how = "";
  #asked = false;

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.ask()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.ask());
  }

  begin() {
    this.#lanes = { server: [], browser: [] };
    this.#began = performance.now();
    this.#ended = 0;
    this.#run();
  }

  get elapsed() {
    return (this.#ended || performance.now()) - this.#began;
  }

  // A mark that comes again, at the same milliseconds, has grown.
  mark(lane, at, size) {
    const marks = this.#lanes[lane];
    if (marks.at(-1)?.at === at) marks.at(-1).size = size;
    else marks.push({ at, size });
    if (marks.length > KEPT) marks.splice(0, marks.length - KEPT);
  }

  got(size) {
    const at = Math.floor(this.elapsed / 20) * 20;
    const last = this.#lanes.browser.at(-1);
    this.mark("browser", at, last?.at === at ? last.size + size : size);
  }

  end(how) {
    this.#ended ||= performance.now();
    this.#how = how;
    this.ask();
  }

  describe(chunks, size) {
    const text = `${count(chunks, "chunk")}, ${bytes(size)} in ${seconds(this.elapsed / 1000)}`;
    this.#canvas.ariaLabel = `Time line of the chunks: ${text}`;
    return text;
  }

  #run() {
    this.ask();
    if (!this.#ended) setTimeout(() => this.#run(), 50);
  }

  ask() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#draw();
    });
  }

  #draw() {
    const { context, width, height, colour, faint } = prepare(this.#canvas);
    // A stream that the browser shows by itself has no lane below the wire.
    const middle = this.#canvas.dataset.lanes === "2" ? height / 2 : height - 16;
    const now = this.#began ? this.elapsed : 0;
    const span = Math.min(Math.max(now, SPAN), MOST);
    const from = Math.max(0, now - span);
    const x = (at) => ((at - from) / span) * (width - 8);

    context.fillStyle = faint;
    for (let at = Math.ceil(from / 1000) * 1000; at <= from + span; at += 1000)
      context.fillRect(Math.round(x(at)), 0, 1, height);
    context.fillRect(0, middle, width, 1);
    if (!this.#began) return;

    context.fillStyle = colour;
    for (const [lane, side] of [["server", -1], ["browser", 1]])
      for (const { at, size } of this.#lanes[lane]) {
        if (at < from) continue;
        const tall = (Math.log2(size + 1) / 21) * (middle - 4) + 3;
        context.fillRect(x(at), side < 0 ? middle - tall : middle + 1, 3, Math.min(tall, middle - 1));
      }
    context.fillRect(0, middle, x(now), 1);
    if (this.#ended) drawEnd(context, x(now), middle, this.#how);
  }
}

// Shape as well as colour tells how it ended: a wall, a gap that is torn, an open ring.
function drawEnd(context, x, middle, how) {
  context.strokeStyle = context.fillStyle;
  context.lineWidth = 2;
  context.beginPath();
  if (how === "complete") context.fillRect(x, middle - 14, 4, 29);
  else if (how === "cut")
    for (let step = 0; step < 5; step += 1)
      context.lineTo(x + (step % 2 ? 6 : 0), middle - 14 + step * 7);
  else context.arc(x + 3, middle, 4, 0, 2 * Math.PI);
  context.stroke();
}

// A canvas as sharp as the screen, and the colours that the style sheet gives it.
export function prepare(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const style = getComputedStyle(canvas);
  return { context, width, height, colour: style.color, faint: style.borderTopColor };
}
