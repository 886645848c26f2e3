import zipfile

from fastapi import FastAPI

from streamkit import ZIPStreamingResponse, iterate_writes

app = FastAPI()


@app.get("/export.zip")
def export():
    def write(file):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for month in range(1, 13):
                with archive.open(f"2026-{month:02}.csv", "w") as member:
                    for day in range(1, 29):
                        member.write(f"2026-{month:02}-{day:02},{day * month}\n".encode())

    return ZIPStreamingResponse(iterate_writes(write), filename="export.zip")
