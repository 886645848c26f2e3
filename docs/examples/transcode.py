import subprocess

from fastapi import FastAPI

from streamkit import MP4StreamingResponse

# Fragments can be played as they come; a plain MP4 has its index where it ends.
COMMAND = "ffmpeg -v error -i film.mp4 -t 5 -movflags frag_keyframe+empty_moov -f mp4 -"

app = FastAPI()


class PreviewStreamingResponse(MP4StreamingResponse):
    first_chunk_timeout = None  # ffmpeg needs some time to find out whether it can


@app.get("/preview.mp4", response_class=PreviewStreamingResponse)
def preview():
    ffmpeg = subprocess.Popen(COMMAND.split(), stdout=subprocess.PIPE)
    return PreviewStreamingResponse(ffmpeg)
