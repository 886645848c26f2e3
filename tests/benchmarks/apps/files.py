"""Content with an address: by Starlette's FileResponse or StreamingResponse, and by ours."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ..samples import blob, sample


def routes(
    file_response: Callable[[Path], Response], stream_response: type[StreamingResponse]
) -> Starlette:
    async def file(request: Request) -> Response:
        return file_response(sample(request.path_params["n"]))

    async def bytesio(request: Request) -> Response:
        return stream_response(io.BytesIO(blob(request.path_params["n"])))

    async def ping(request: Request) -> Response:
        return PlainTextResponse("pong")

    return Starlette(
        routes=[
            Route("/file/{n:int}.bin", file),
            Route("/bytesio/{n:int}", bytesio),
            Route("/ping", ping),
        ]
    )


def on_fastapi(file_response: Callable[[Path], Response]) -> FastAPI:
    app = FastAPI()

    @app.get("/file/{n}.bin")
    async def file(n: int) -> Response:
        return file_response(sample(n))

    return app


def starlette() -> Starlette:
    return routes(FileResponse, StreamingResponse)


def streamkit() -> Starlette:
    import streamkit

    return routes(streamkit.FileStreamingResponse, streamkit.StreamingResponse)


def fastapi() -> FastAPI:
    return on_fastapi(FileResponse)


def fastapi_streamkit() -> FastAPI:
    import streamkit

    return on_fastapi(streamkit.FileStreamingResponse)
