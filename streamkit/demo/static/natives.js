// Cards that leave their stream to the browser: pictures, sound, video and events. What is on the
// wire is known from the server's side only, but for events.

import { Card } from "./card.js";

class Native extends Card {
  get url() {
    return `${this.path}?play=${this.name}`;
  }

  play() {
    this.begin();
    this.open();
  }

  // The server sees the chunks; the browser keeps them to itself.
  told(stream) {
    this.chunks = stream.chunks;
    this.received = stream.sent;
    this.figures();
  }
}

export class Picture extends Native {
  open() {
    const name = this.name;
    // A picture that is whole stays until the next one is: only a fresh <img> shows it grow.
    const shown = this.find("img");
    this.image = Object.assign(new Image(320, 200), { alt: shown.alt });
    shown.replaceWith(this.image);
    this.image.onload = () => {
      if (this.live && this.name === name) this.end("complete", "The browser shows a whole picture.");
    };
    this.image.onerror = () => {
      if (this.live && this.name === name) this.end("cut", "The browser saw the picture cut.");
    };
    this.image.src = this.url;
  }

  // Another source ends the stream; the last picture that was whole stays.
  stop() {
    super.stop();
    if (!this.image) return;
    const canvas = document.createElement("canvas");
    const { naturalWidth, naturalHeight } = this.image;
    [canvas.width, canvas.height] = [naturalWidth || 320, naturalHeight || 200];
    if (naturalWidth) canvas.getContext("2d").drawImage(this.image, 0, 0);
    this.image.onload = this.image.onerror = null;
    this.image.src = canvas.toDataURL();
  }
}

export class Pictures extends Picture {
  open() {
    super.open();
    // Each part is loaded, and none is the last.
    this.image.onload = null;
  }
}

class Media extends Native {
  open() {
    this.media = this.find("video, audio");
    this.media.src = this.url;
    this.media.onended = () => this.live && this.end("complete", "The browser played it to its end.");
    this.media.play().catch(() => {});
  }

  stop() {
    super.stop();
    this.media.pause();
    this.media.removeAttribute("src");
    this.media.load();
  }
}

export class Film extends Media {
  #seen = new Map();

  reset() {
    this.#seen.clear();
    this.find(".requests").replaceChildren();
  }

  seek(to) {
    if (!this.live) this.play();
    this.media.currentTime = Number(to);
  }

  async part(span) {
    if (!this.live) this.play();
    const response = await fetch(this.url, { headers: { Range: `bytes=${span}` }, cache: "no-store" });
    await response.arrayBuffer();
  }

  // A video makes requests of its own, all under the name of this play.
  told(stream) {
    super.told(stream);
    const range = stream.headers.find(([name]) => name === "content-range")?.[1] ?? "all of it";
    const item = this.#seen.get(stream.number) ?? document.createElement("li");
    item.textContent = `${stream.status}: ${range}`;
    this.#seen.set(stream.number, item);
    this.find(".requests").append(item);
  }
}

export class Melody extends Media {
  open() {
    super.open();
    const line = this.find(".roll line");
    const width = this.find(".roll").viewBox.baseVal.width;
    this.media.ontimeupdate = () => {
      const at = (this.media.currentTime / this.media.duration) * width || 0;
      line.setAttribute("x1", at);
      line.setAttribute("x2", at);
    };
  }
}

export class Clock extends Card {
  reset() {
    this.find(".ticks").replaceChildren();
  }

  play(_, query = {}) {
    this.begin();
    const source = new EventSource(`${this.path}?${new URLSearchParams({ ...query, play: this.name })}`);
    this.source = source;
    source.onmessage = (event) => this.#tick(event);
    source.onerror = () => this.#note("cut: the browser reconnects with Last-Event-ID");
  }

  stop() {
    super.stop();
    this.source?.close();
  }

  #tick({ data, lastEventId }) {
    this.got(data.length);
    this.find(".time").textContent = data.slice(11, 21);
    this.#note(`tick ${lastEventId}`);
  }

  #note(text) {
    const item = document.createElement("li");
    item.textContent = text;
    const list = this.find(".ticks");
    list.append(item);
    if (list.children.length > 8) list.firstChild.remove();
  }
}
