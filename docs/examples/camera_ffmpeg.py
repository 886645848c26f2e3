import os
import subprocess

from fastapi import FastAPI

from streamkit import StreamingResponse, file_chunks

# On Linux a camera is "-f v4l2 -i /dev/video0", on macOS "-f avfoundation -i 0".
INPUT = os.environ.get("CAMERA_INPUT", "-re -f lavfi -i testsrc")
COMMAND = f"ffmpeg -v error {INPUT} -f mpjpeg -boundary_tag frame -"

app = FastAPI()


@app.get("/camera")
def camera():
    return StreamingResponse(
        pictures(), media_type="multipart/x-mixed-replace; boundary=frame", send_timeout=10.0
    )


def pictures():
    with subprocess.Popen(COMMAND.split(), stdout=subprocess.PIPE) as ffmpeg:
        assert ffmpeg.stdout
        try:
            yield from file_chunks(ffmpeg.stdout)
        finally:
            ffmpeg.kill()
