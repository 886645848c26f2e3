import os
import re
from urllib.parse import quote, unquote

import requests
from fastapi import FastAPI, HTTPException, Request

from streamkit import StreamingResponse

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9000").rstrip("/")
# What the server behind may read as the folder above.
CLIMBS = re.compile(r"(^|[/\\])\.\.($|[/\\;])")
# What stays as it is in an address; a "#" would end it.
SAFE = "%/?:@!$&'()*+,;=[]"
KEPT = ["content-type", "content-length", "content-encoding", "content-range", "etag"]
KEPT += ["location"]
# A Range never without its If-Range: the client would join halves of two versions.
PASSED = ("if-range", "range")

app = FastAPI()


def target(path: str, request: Request) -> str:
    """The address behind: path and query stay as the client wrote them."""
    before = request.scope["path"].removesuffix(path).encode()
    raw = request.scope.get("raw_path") or b""
    # A server need not give the raw path.
    raw = raw.removeprefix(before) if raw.startswith(before) else quote(path).encode()
    if CLIMBS.search(unquote(raw.decode("latin-1"))):
        raise HTTPException(400, "a path with '..' is not passed on")
    if query := request.scope["query_string"]:
        raw += b"?" + query
    return f"{UPSTREAM}/{quote(raw, safe=SAFE)}"


@app.get("/{path:path}")
def proxy(path: str, request: Request):
    headers = {name: value for name, value in request.headers.items() if name in PASSED}
    headers["accept-encoding"] = "identity"
    url = target(path, request)
    try:
        # Not with a session that all users share: it keeps cookies.
        upstream = requests.get(
            url, headers=headers, stream=True, timeout=10, allow_redirects=False
        )
    except requests.ConnectionError as exc:
        raise HTTPException(502, "the server behind does not answer") from exc
    return StreamingResponse(
        upstream.raw.stream(65536, decode_content=False),
        upstream.status_code,
        {name: upstream.headers[name] for name in KEPT if name in upstream.headers},
        on_close=lambda outcome: upstream.close(),
    )
