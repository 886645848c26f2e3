import os

import requests
from fastapi import FastAPI, Header, HTTPException

from streamkit import StreamingResponse

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9000")
KEPT = ["content-type", "content-length", "content-encoding", "content-range", "etag"]

app = FastAPI()


@app.get("/{path:path}")
def proxy(path: str, part: str | None = Header(None, alias="range")):
    headers = {"accept-encoding": "identity"} | ({"range": part} if part else {})
    try:
        upstream = requests.get(f"{UPSTREAM}/{path}", headers=headers, stream=True, timeout=10)
    except requests.ConnectionError as exc:
        raise HTTPException(502, "the server behind does not answer") from exc
    return StreamingResponse(
        upstream.raw.stream(65536, decode_content=False),
        upstream.status_code,
        {name: upstream.headers[name] for name in KEPT if name in upstream.headers},
        on_close=lambda outcome: upstream.close(),
    )
