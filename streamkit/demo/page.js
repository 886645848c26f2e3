// The parts of the index page that live. Each is started and stopped with the button beside it.

const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

// `start(show, ended)` begins a stream and gives the function that stops it; it calls `ended`
// where the stream comes to an end by itself.
function live(id, start, { auto = false, labels = ["Start", "Stop"] } = {}) {
  const show = document.getElementById(id);
  const button = show.querySelector("button");
  let stop = null;
  let hidden = false;

  const note = (running) => {
    stop = running;
    button.textContent = labels[running ? 1 : 0];
  };
  const toggle = () => {
    if (stop) {
      stop();
      note(null);
    } else {
      note(start(show, () => note(null)));
    }
  };
  note(null);
  button.addEventListener("click", toggle);
  if (!auto) return;
  if (!still) toggle();
  // A browser has six connections for a server: a tab that nobody sees leaves them to others.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden ? stop : hidden) {
      hidden = document.hidden;
      toggle();
    }
  });
}

function clock(show) {
  const source = new EventSource("clock");
  source.addEventListener("tick", (event) => {
    show.querySelector("[role=timer]").textContent = event.data;
  });
  return () => source.close();
}

function answer(show, ended) {
  const text = show.querySelector(".text");
  const source = new EventSource("answer");
  text.textContent = "";
  source.addEventListener("token", (event) => text.append(event.data));
  source.addEventListener("end", () => {
    source.close();
    ended();
  });
  return () => source.close();
}

async function* readLines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    yield* lines;
  }
}

// Run what a controller can abort, and say on the page what went wrong otherwise.
function abortable(run, failed, ended) {
  const controller = new AbortController();
  run(controller.signal)
    .catch((error) => controller.signal.aborted || failed(error.message))
    .finally(() => controller.signal.aborted || ended());
  return () => controller.abort();
}

function readings(show, ended) {
  const rows = show.querySelector("tbody");
  const caption = show.querySelector("caption");
  return abortable(async (signal) => {
    for await (const line of readLines(await fetch("readings.jsonl", { signal }))) {
      const { number, time, celsius } = JSON.parse(line);
      const row = document.createElement("tr");
      for (const value of [number, time.slice(11, 23), celsius.toFixed(1)])
        row.insertCell().textContent = value;
      rows.prepend(row);
      if (rows.rows.length > 6) rows.lastChild.remove();
    }
  }, (message) => { caption.textContent = message; }, ended);
}

function pictures(show) {
  const image = show.querySelector("img");
  image.src = "pictures";
  return () => {
    // Another source ends the stream; the last picture stays.
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext("2d").drawImage(image, 0, 0);
    image.src = canvas.toDataURL();
  };
}

const MEBIBYTE = 2 ** 20;
let received = 0;
let etag = null;

function download(show, ended) {
  const bar = show.querySelector("progress");
  const status = show.querySelector("[role=status]");
  return abortable(async (signal) => {
    if (received === bar.max) [received, etag] = [0, null];
    // With If-Range, a file that has changed meanwhile is sent from its beginning, with a 200.
    const headers = etag ? { "Range": `bytes=${received}-`, "If-Range": etag } : {};
    const response = await fetch("gibibyte.bin", { headers, signal, cache: "no-store" });
    if (response.status === 200) {
      received = 0;
      bar.max = Number(response.headers.get("content-length"));
    }
    etag = response.headers.get("etag");
    const part = response.headers.get("content-range") ?? `${bar.max} bytes`;
    status.textContent = `${response.status}: ${part}`;
    const reader = response.body.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      bar.value = received += value.length;
      show.querySelector(".received").textContent =
        `${Math.floor(received / MEBIBYTE)} of ${Math.ceil(bar.max / MEBIBYTE)} MiB`;
    }
    status.textContent = "complete";
  }, (message) => { status.textContent = message; }, ended);
}

live("clock", clock, { auto: true });
live("answer", answer);
live("readings", readings, { auto: true });
live("pictures", pictures, { auto: true });
live("download", download, { labels: ["Start or resume", "Pause"] });
