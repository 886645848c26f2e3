import math
from pathlib import Path

from fastapi import FastAPI

from streamkit import FileStreamingResponse, SVGStreamingResponse

NUMBERS = Path("numbers.txt")
NUMBERS.write_text("".join(f"{number:06}\n" for number in range(100_000)))

app = FastAPI()


@app.get("/wave.svg", response_class=SVGStreamingResponse)
def wave():
    yield '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 50">\n'
    for x in range(200):
        yield f'<circle cx="{x}" cy="{25 - 20 * math.sin(x / 10):.1f}" r="1"/>\n'
    yield "</svg>\n"


@app.get("/numbers.txt")
def numbers():
    return FileStreamingResponse(NUMBERS)
