import os
import threading

import cv2
from fastapi import FastAPI

from streamkit import MultipartStreamingResponse

SOURCE = os.environ.get("CAMERA", "0")  # a number, a file, or an address: rtsp://...

app = FastAPI()


class CameraStreamingResponse(MultipartStreamingResponse):
    part_media_type = "image/jpeg"
    send_timeout = 10.0  # a browser that hangs is dropped


class Camera:
    """One device for all watchers; open while there is one."""

    def __init__(self, source: str) -> None:
        self.source = int(source) if source.isdecimal() else source
        self.changed = threading.Condition()
        self.watchers, self.is_open = 0, False
        self.frame: bytes | None = None
        self.number = 0

    def frames(self):
        with self.changed:
            self.watchers += 1
            if not self.is_open:
                self.is_open = True
                threading.Thread(target=self._read, daemon=True).start()
            seen = self.number
        try:
            while True:
                with self.changed:
                    # A slow browser misses frames, instead of falling behind.
                    while self.number == seen:
                        self.changed.wait()
                    seen, frame = self.number, self.frame
                if frame is None:
                    return
                yield frame
        finally:
            with self.changed:
                self.watchers -= 1

    def _read(self) -> None:
        device = cv2.VideoCapture(self.source)
        while True:
            taken, picture = device.read()
            with self.changed:
                self.frame = cv2.imencode(".jpg", picture)[1].tobytes() if taken else None
                self.number += 1
                self.changed.notify_all()
                if not taken or not self.watchers:
                    device.release()
                    self.is_open = False  # the next watcher opens it again
                    return


camera = Camera(SOURCE)


@app.get("/camera", response_class=CameraStreamingResponse)
def show():
    return CameraStreamingResponse(camera.frames())
