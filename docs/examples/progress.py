import uuid

import anyio
from fastapi import BackgroundTasks, FastAPI, HTTPException
from fastapi.responses import HTMLResponse

from streamkit import ServerSentEvent, SSEStreamingResponse

app = FastAPI()


class Job:
    """Work that goes on whether or not someone watches."""

    def __init__(self, total: int) -> None:
        self.done, self.total, self.over = 0, total, False
        self.changed = anyio.Event()

    async def run(self) -> None:
        try:
            for _ in range(self.total):
                await anyio.sleep(0.02)  # the work
                self.advance()
        finally:
            self.over = True  # also if it failed
            self.tell()

    def advance(self) -> None:
        self.done += 1
        self.tell()

    def tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def events(self):
        while not self.over:
            changed = self.changed
            yield ServerSentEvent({"done": self.done, "total": self.total}, event="progress")
            await changed.wait()
        yield ServerSentEvent({"ok": self.done == self.total}, event="end")


jobs: dict[str, Job] = {}


@app.post("/jobs", status_code=202)
async def start(tasks: BackgroundTasks):
    name = uuid.uuid4().hex
    jobs[name] = Job(total=50)
    tasks.add_task(jobs[name].run)
    return {"events": f"/jobs/{name}/events"}


@app.get("/jobs/{job}/events")
async def watch(job: str):
    if job not in jobs:
        raise HTTPException(404, "no job of that name")
    return SSEStreamingResponse(jobs[job].events())


@app.get("/", response_class=HTMLResponse)
def page():
    return """
        <button>Start</button> <progress value="0"></progress>
        <script>
          document.querySelector("button").onclick = async () => {
            const bar = document.querySelector("progress");
            const job = await (await fetch("/jobs", {method: "POST"})).json();
            const events = new EventSource(job.events);
            events.addEventListener("progress", event => {
              const {done, total} = JSON.parse(event.data);
              bar.max = total;
              bar.value = done;
            });
            events.addEventListener("end", event => {
              bar.replaceWith(JSON.parse(event.data).ok ? "It is done." : "It has failed.");
              events.close();  // otherwise the browser connects again
            });
          };
        </script>"""
