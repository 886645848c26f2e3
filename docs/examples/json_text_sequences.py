import json

from fastapi import FastAPI
from pydantic_core import to_jsonable_python

from streamkit import StreamingResponse


def to_json(item: object) -> bytes:
    """In ASCII, so that any text can be sent; NaN is an error, since JSON has none."""
    text = json.dumps(item, separators=(",", ":"), default=to_jsonable_python, allow_nan=False)
    return text.encode()


class JSONSequenceEncoder:
    """Encodes each item as a JSON text sequence does: RS, its JSON text, LF (RFC 7464 §2.2)."""

    def encode(self, item: object) -> bytes:
        return b"\x1e" + to_json(item) + b"\n"

    def finish(self) -> bytes:
        return b""

    def keep_alive(self) -> bytes:
        return b"\x1e"  # separators with nothing between them are no items (§2.1)

    def error(self, exc_type: str, detail: str | None) -> bytes:
        return self.encode({"error": {"type": exc_type, "detail": detail}})


class JSONSequenceStreamingResponse(StreamingResponse):
    """Streams each item as an element of a JSON text sequence, `application/json-seq`."""

    media_type = "application/json-seq"
    encoder = JSONSequenceEncoder


app = FastAPI()


@app.get("/readings", response_class=JSONSequenceStreamingResponse)
def readings():
    for number in range(3):
        yield {"sensor": "roof", "value": number / 4}
