import time

from fastapi import FastAPI

from streamkit import PlainTextStreamingResponse

app = FastAPI()


@app.get("/count", response_class=PlainTextStreamingResponse)
def count():
    number = 0
    try:
        while True:
            number += 1
            yield f"{number}\n"
            time.sleep(0.5)
    finally:
        print("the client left, and this ran")
