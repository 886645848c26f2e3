from fastapi import FastAPI, Request

from streamkit import JSONLinesStreamingResponse, StreamLimit


def account(request: Request):
    return request.headers.get("x-account")


class Export(JSONLinesStreamingResponse):
    limit = StreamLimit(total=100, per_client=2, key=account)
    deadline = 600.0
    min_rate = 10_000


app = FastAPI()


@app.get("/export", response_class=Export)
def export():
    for number in range(1000):
        yield {"id": number}
