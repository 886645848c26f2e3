"""The routes of all runs: follow or resume, state, cancel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable, iscoroutinefunction
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from streamkit.declare import function
from streamkit.formats import JSONLinesStreamingResponse, SSEStreamingResponse, last_event_id
from streamkit.live.checks import check_gap, check_id
from streamkit.live.errors import UnknownStream
from streamkit.live.follow import Follow
from streamkit.live.run import Runs
from streamkit.openapi import Responses
from streamkit.threads import run_in_stream_thread

__all__ = ["Authorize", "make_router"]

Authorize = Callable[[Request, str], "bool | Awaitable[bool | None] | None"]

# Items a client may say it has had after an id.
MOST_SKIPPED = 10_000_000


def make_router(live: Runs, prefix: str, authorize: Authorize | None, gap: str | None) -> Any:
    """A FastAPI router over the runs of a `Live`."""
    try:
        from fastapi import APIRouter
    except ImportError as exc:
        raise ImportError(
            "Live.router() needs FastAPI; in Starlette make routes of your own with Live.follow(), "
            "state() and cancel()"
        ) from exc
    check_gap(gap)
    function("authorize", authorize)
    routes = _Routes(live, authorize, gap)
    router = APIRouter(prefix=prefix, tags=["streams"])

    async def follow(request: Request, id: str) -> Response:  # noqa: A002
        """Follow a stream, or resume it after an id."""
        return await routes.follow(request, id)

    async def state(request: Request, id: str) -> Response:  # noqa: A002
        """Whether a stream is running, done, failed or cancelled."""
        return await routes.state(request, id)

    async def cancel(request: Request, id: str) -> Response:  # noqa: A002
        """Cancel a stream."""
        return await routes.cancel(request, id)

    path = "/{id:path}"
    refused: Responses = {403: {}, 404: {}, 503: {}}
    told: Responses = {204: {}, 410: {}, **refused}
    router.add_api_route(
        path,
        follow,
        methods=["GET"],
        response_class=SSEStreamingResponse,
        name="follow_stream",
        responses={200: {"content": JSONLinesStreamingResponse.openapi()[200]["content"]}, **told},
    )
    router.add_api_route(
        path,
        state,
        methods=["HEAD"],
        response_class=Response,
        name="stream_state",
        responses=told,
    )
    router.add_api_route(
        path,
        cancel,
        methods=["DELETE"],
        name="cancel_stream",
        status_code=204,
        responses=refused,
    )
    return router


class _Routes:
    def __init__(self, live: Runs, authorize: Authorize | None, gap: str | None) -> None:
        self._live = live
        self._authorize = authorize
        self._gap = gap

    async def follow(self, request: Request, id_: str) -> Response:
        await self._check(request, id_)
        content = self._content(request, id_)
        headers = {"Vary": "Accept", "Cache-Control": "no-store"}
        if _prefers_lines(request.headers.get("accept", "")):
            return JSONLinesStreamingResponse(content, headers=headers)
        return SSEStreamingResponse(content, headers=headers)

    async def state(self, request: Request, id_: str) -> Response:
        await self._check(request, id_)
        state = await self._live.state(id_)
        if state is None:
            raise UnknownStream(id_)
        start = await self._content(request, id_).look()
        headers = {**start.headers, "Stream-State": state, "Cache-Control": "no-store"}
        return Response(status_code=start.status_code or 200, headers=headers)

    async def cancel(self, request: Request, id_: str) -> Response:
        await self._check(request, id_)
        state = await self._live.cancel(id_)
        if state is None:
            raise UnknownStream(id_)
        return Response(status_code=204, headers={"Stream-State": state})

    async def _check(self, request: Request, id_: str) -> None:
        """Ask before anything is looked up, on every route."""
        if self._authorize is not None:
            allowed: Any
            if iscoroutinefunction(self._authorize):
                allowed = await self._authorize(request, id_)
            else:
                # In a list, since trio refuses a function that gives a coroutine.
                (allowed,) = await run_in_stream_thread(self._ask, request, id_)
                if isawaitable(allowed):
                    allowed = await allowed
            if allowed is not None and not allowed:
                raise HTTPException(403)
        try:
            check_id(id_)
        except ValueError:
            raise UnknownStream(id_) from None

    def _ask(self, request: Request, id_: str) -> list[Any]:
        assert self._authorize is not None
        return [self._authorize(request, id_)]

    def _content(self, request: Request, id_: str) -> Follow:
        after = last_event_id(request) or None
        skip = 0
        if after is None:
            after = request.query_params.get("after") or None
            skip = _skip_of(request.query_params.get("skip", "0"))
            if skip and after in (None, "now"):
                raise HTTPException(400, "skip counts from the id that `after` has to name")
        return Follow(self._live._core, id_, after=after, skip=skip, gap=self._gap)


def _skip_of(value: str) -> int:
    if not (value.isascii() and value.isdigit()) or int(value[:9]) > MOST_SKIPPED or len(value) > 9:
        raise HTTPException(400, "skip must be the number of items had after the id")
    return int(value)


def _prefers_lines(accept: str) -> bool:
    """Whether a client asks for JSON lines rather than events (RFC 9110 §12.5.1)."""
    quality = {"application/jsonl": 0.0, "application/x-ndjson": 0.0, "text/event-stream": 0.0}
    for part in accept.lower().split(","):
        media_type, *parameters = (piece.strip() for piece in part.split(";"))
        if media_type in quality:
            quality[media_type] = 1.0
            for parameter in parameters:
                if parameter.startswith("q="):
                    try:
                        quality[media_type] = float(parameter[2:])
                    except ValueError:
                        quality[media_type] = 0.0
    events = quality.pop("text/event-stream")
    return max(quality.values()) > events
