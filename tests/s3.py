"""moto's S3 on a loopback port, and any WSGI or HTTP server on a thread."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest


@contextmanager
def running(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class S3:
    """The server, and what has been asked of it."""

    url: str
    log: list[dict[str, str]]

    def store(self) -> Any:
        from obstore.store import S3Store

        return S3Store(
            "films",
            endpoint=self.url,
            region="us-east-1",
            access_key_id="nobody",
            secret_access_key="nothing",
            client_options={"allow_http": True},
        )

    def asked(self, field: str, method: str = "GET") -> list[str]:
        """A header of each request, "" where it was not sent."""
        return [entry.get(field, "") for entry in self.log if entry["REQUEST_METHOD"] == method]


@contextmanager
def serving_s3() -> Iterator[S3]:
    """Run moto's S3 with a bucket `films`, until the block ends."""
    pytest.importorskip("moto", reason="moto is not installed")
    moto = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: object) -> None:
            pass

    backend = moto.DomainDispatcherApplication(moto.create_backend_app)
    log: list[dict[str, str]] = []

    def recorded(environ: dict[str, Any], start_response: Any) -> Any:
        log.append({key: value for key, value in environ.items() if isinstance(value, str)})
        return backend(environ, start_response)

    server = make_server("127.0.0.1", 0, recorded, threaded=True, request_handler=Quiet)
    with running(server):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
        connection.request("PUT", "/films")
        assert connection.getresponse().status == 200
        connection.close()
        yield S3(f"http://127.0.0.1:{server.server_port}", log)
