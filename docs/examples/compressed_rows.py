from fastapi import FastAPI

from streamkit import JSONLinesStreamingResponse

app = FastAPI()


class Rows(JSONLinesStreamingResponse):
    compress = True


@app.get("/rows", response_class=Rows)
def rows():
    for number in range(100_000):
        yield {"id": number, "state": "running"}
