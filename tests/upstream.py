"""The servers that examples talk to: one to pass on, an object store, and a database."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.postgres import database

__all__ = ["OBJECT", "TEXT", "Upstream", "object_store", "servers_for", "upstream"]

TEXT = b"".join(b"line %d\n" % number for number in range(20_000))
OBJECT = bytes(range(256)) * 4000


class Upstream(ThreadingHTTPServer):
    """Answers some paths, and knows which connections clients have left."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.left = threading.Event()
        self.asked: list[dict[str, str]] = []
        self.targets: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        self.left.set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def note(self) -> None:
        self.server.asked.append({name.lower(): value for name, value in self.headers.items()})
        # As it came: `path` has one "/" where it begins with two.
        self.server.targets.append(self.requestline.split()[1])

    def do_GET(self) -> None:
        self.note()
        answer = getattr(self, f"answer_{self.path.strip('/').split('?')[0]}", None)
        if answer is None:
            self.reply(404, b"nothing here")
        else:
            answer()

    do_HEAD = do_GET  # noqa: N815  named by http.server

    def do_POST(self) -> None:
        self.note()
        # What a model's API answers; a question without messages is refused.
        body = self.rfile.read(int(self.headers["content-length"]))
        if b"messages" not in body:
            self.reply(422, b"no messages")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Set-Cookie", "of=one")
        self.send_header("Connection", "close")
        self.end_headers()
        deltas = [{"role": "assistant"}, {"content": "Größe\u2028"}, {"content": "\n"}, {}]
        for delta in deltas:
            chunk = json.dumps({"choices": [{"delta": delta}]}, ensure_ascii=False)
            for byte in f"data: {chunk}\n\n".encode():
                self.wfile.write(bytes([byte]))
        self.wfile.write(b'data: {"choices": [], "usage": {}}\n\ndata: [DONE]\n\n')

    def log_message(self, *args: object) -> None:
        pass

    def reply(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_text(self) -> None:
        own = (
            ("Content-Type", "text/plain"),
            ("Connection", "X-Own"),
            ("X-Own", "for this connection"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
        )
        if part := self.headers.get("range"):
            first, last = map(int, part.removeprefix("bytes=").split("-"))
            content_range = f"bytes {first}-{last}/{len(TEXT)}"
            self.reply(206, TEXT[first : last + 1], *own, ("Content-Range", content_range))
        else:
            self.reply(200, TEXT, *own)

    # What stands for a parameter of a path in the documentation's programs.
    answer_1 = answer_text

    def answer_packed(self) -> None:
        self.reply(200, gzip.compress(TEXT), ("Content-Encoding", "gzip"))

    def answer_named(self) -> None:
        # UTF-8 on the wire, as some servers send it.
        name = 'attachment; filename="日本.txt"'.encode().decode("latin-1")
        self.reply(200, TEXT, ("Content-Disposition", name))

    def answer_moved(self) -> None:
        self.reply(302, b"moved", ("Location", "/text"))

    def answer_cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"the beginning")
        self.close_connection = True

    def answer_events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Set-Cookie", "of=one")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"9\r\ndata: 1\n\n\r\n")
            time.sleep(0.01)


@contextmanager
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def object_store(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """S3 as boto3 finds it by the environment, with an object named "1" in the bucket "files"."""
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch.setenv("S3_ENDPOINT", f"http://{host}:{port}")
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    try:
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="files")
        client.put_object(Bucket="files", Key="1", Body=OBJECT, ContentType="audio/ogg")
        client.close()
        yield
    finally:
        server.stop()


@contextmanager
def servers_for(program: str) -> Iterator[None]:
    """What a program needs beside files, told by its environment."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        if "UPSTREAM" in program:
            patch.setenv("UPSTREAM", stack.enter_context(upstream()).url)
        if "S3_ENDPOINT" in program:
            stack.enter_context(object_store(patch))
        if "DATABASE_URL" in program:
            patch.setenv("DATABASE_URL", database())
        # A film for a camera.
        patch.setenv("CAMERA", "film.mp4")
        yield
