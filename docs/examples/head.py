from pathlib import Path

from fastapi import FastAPI

from streamkit import CSVStreamingResponse, FileStreamingResponse

app = FastAPI()


@app.get("/film.mp4")
@app.head("/film.mp4", include_in_schema=False)
def film():
    return FileStreamingResponse(Path("film.mp4"))


@app.get("/rows.csv", response_class=CSVStreamingResponse)
@app.head("/rows.csv", response_class=CSVStreamingResponse, include_in_schema=False)
def rows():
    number = 0
    while True:  # no end: HEAD stops at the first row
        yield {"number": number}
        number += 1
