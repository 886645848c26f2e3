from fastapi import FastAPI

from streamkit import StreamingResponse

app = FastAPI()


@app.get("/report")
def report():
    return StreamingResponse(lines(), media_type="text/plain")


def lines():
    for number in range(3):
        yield f"line {number}\n"
