from fastapi import FastAPI

from streamkit import MPEGTSStreamingResponse, StreamOutcome


class CameraStreamingResponse(MPEGTSStreamingResponse):
    max_buffer = 1_000_000
    send_timeout = 10.0

    async def on_close(self, outcome: StreamOutcome) -> None:
        print(outcome.reason, outcome.bytes_sent)


app = FastAPI()


@app.get("/camera", response_class=CameraStreamingResponse)
async def camera():
    yield bytes(188)
