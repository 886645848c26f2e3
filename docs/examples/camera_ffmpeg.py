import os
import subprocess

from fastapi import FastAPI

from streamkit import StreamingResponse

# On Linux a camera is "-f v4l2 -i /dev/video0", on macOS "-f avfoundation -i 0".
INPUT = os.environ.get("CAMERA_INPUT", "-re -f lavfi -i testsrc")
COMMAND = f"ffmpeg -v error {INPUT} -f mpjpeg -boundary_tag frame -"

app = FastAPI()


@app.get("/camera")
def camera():
    ffmpeg = subprocess.Popen(COMMAND.split(), stdout=subprocess.PIPE)
    return StreamingResponse(
        ffmpeg, media_type="multipart/x-mixed-replace; boundary=frame", send_timeout=10.0
    )
