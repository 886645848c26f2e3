from fastapi import FastAPI, HTTPException

from streamkit import JSONLinesStreamingResponse, StreamOutcome

DAYS = ["monday", "tuesday", "wednesday"]


class RowsStreamingResponse(JSONLinesStreamingResponse):
    async def on_close(self, outcome: StreamOutcome) -> None:
        print(f"{outcome.reason}: {outcome.bytes_sent} bytes, {outcome.error!r}")


app = FastAPI()


@app.get("/orders/{day}", response_class=RowsStreamingResponse)
def orders(day: str):
    if day not in DAYS:
        raise HTTPException(404, f"no orders for {day}")
    for number in range(1, 4):
        if day == "wednesday" and number == 3:
            raise RuntimeError("the database has gone")
        yield {"day": day, "order": number}
