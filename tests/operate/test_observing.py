"""Observers hear of each response, and disturb none."""

from __future__ import annotations

import inspect
import logging
import threading
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router

from streamkit import Honest, Observer, StreamInfo, StreamOutcome, observe, observing, open_streams
from streamkit.observing import (
    OpenStreamInfo,
    Progress,
    forget,
    observe_response,
    register,
)
from streamkit.routes import route_of
from streamkit.testing import fetch

DONE = StreamOutcome("complete", 10, 0.5)
HEADERS = [(b"content-type", b"text/plain")]
SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "client": ("10.0.0.1", 4000)}


class Recorder:
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def started(self, info: StreamInfo) -> None:
        self.heard.append(("started", info))

    def first_byte(self, info: StreamInfo) -> None:
        self.heard.append(("first_byte", info))

    def ended(self, info: StreamInfo, outcome: StreamOutcome) -> None:
        self.heard.append(("ended", info, outcome))


class EndsOnly:
    def __init__(self) -> None:
        self.ends = 0

    def ended(self, info: StreamInfo, outcome: StreamOutcome) -> None:
        self.ends += 1


class Broken(Observer):
    def started(self, info: StreamInfo) -> None:
        raise LookupError("broken")

    first_byte = started

    def ended(self, info: StreamInfo, outcome: StreamOutcome) -> None:
        raise LookupError("broken")


def respond() -> StreamInfo | None:
    """What a response does."""
    observation = observe_response(SCOPE, HEADERS)
    if observation is None:
        return None
    observation.response_started(200, HEADERS)
    observation.first_byte()
    observation.ended(DONE)
    return observation.info


def test_an_observer_hears_of_a_response_from_start_to_end() -> None:
    recorder = Recorder()
    with observe(recorder):
        info = respond()
    assert recorder.heard == [("started", info), ("first_byte", info), ("ended", info, DONE)]
    assert info is not None
    assert (info.method, info.client, info.status) == ("GET", ("10.0.0.1", 4000), 200)
    assert (info.media_type, info.route, info.scope) == ("text/plain", None, SCOPE)
    assert repr(info) == "<StreamInfo GET None 200>"


def test_without_an_observer_nothing_is_made() -> None:
    assert observing.observers == ()
    assert respond() is None


def test_an_observer_is_heard_no_more_after_its_block() -> None:
    first, second = Recorder(), Recorder()
    with observe(first), observe(second):
        respond()
    with observe(second):
        respond()
    assert (len(first.heard), len(second.heard)) == (3, 6)
    assert observing.observers == ()


def test_an_observer_registered_at_start_stays() -> None:
    recorder = Recorder()
    registration = observe(recorder)
    try:
        respond()
        respond()
    finally:
        registration.__exit__(None, None, None)
    assert len(recorder.heard) == 6


def test_a_response_that_began_is_told_of_to_its_end() -> None:
    early, late = Recorder(), Recorder()
    with observe(early):
        observation = observe_response(SCOPE, [])
    assert observation is not None
    with observe(late):
        observation.ended(DONE)
    assert [event[0] for event in early.heard] == ["started", "ended"]
    assert late.heard == []


def test_an_end_is_told_once() -> None:
    ends = EndsOnly()
    with observe(ends):
        observation = observe_response(SCOPE, [])
        assert observation is not None
        observation.ended(DONE)
        observation.ended(DONE)
    assert ends.ends == 1


def test_an_observer_may_have_one_method_only() -> None:
    ends = EndsOnly()
    with observe(ends):
        respond()
    assert ends.ends == 1


def test_an_observer_that_raises_is_logged_and_the_others_hear_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder()
    with caplog.at_level(logging.ERROR, "streamkit"), observe(Broken()), observe(recorder):
        respond()
    assert len(recorder.heard) == 3
    assert [record.name for record in caplog.records] == ["streamkit"] * 3
    assert "an observer failed in Broken.started" in caplog.text
    assert "LookupError: broken" in caplog.text


def test_what_ends_the_process_is_not_swallowed() -> None:
    class Exits:
        def started(self, info: StreamInfo) -> None:
            raise KeyboardInterrupt

    with observe(Exits()), pytest.raises(KeyboardInterrupt):
        respond()


class Async:
    async def ended(self, info: StreamInfo, outcome: StreamOutcome) -> None: ...


@pytest.mark.parametrize(
    ("observer", "message"),
    [
        (object(), "observe\\(\\) takes an object with started"),
        (Recorder, "observe\\(\\) takes an object with started"),
        (print, "observe\\(\\) takes an object with started"),
        (Async(), "Async.ended must be a plain function, got an async one"),
    ],
)
def test_what_is_no_observer_is_refused(observer: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        observe(observer)
    assert observing.observers == ()


def test_the_base_class_hears_everything_and_does_nothing() -> None:
    with observe(Observer()):
        assert respond() is not None


# FastAPI's routes have always been told; Starlette's by the route first, and by the router since.
STARLETTE_TELLS_ROUTES = any(
    '"route"' in inspect.getsource(each) for each in (Router.app, Route.matches)
)


def routes() -> tuple[Any, list[Any]]:
    found: list[Any] = []

    def show(request: Request) -> PlainTextResponse:
        found.append(route_of(request.scope))
        return PlainTextResponse("")

    router = APIRouter(prefix="/orders")
    router.get("/{id}")(show)
    app = FastAPI()
    app.get("/top/{x}")(show)
    app.include_router(router, prefix="/v1")
    inner = FastAPI()
    inner.get("/in/{y}")(show)
    app.mount("/tenants/{tenant}", inner)
    # What a parameter was in the path can't be told from its value.
    app.mount("/same/{y}", inner)
    app.mount("/ids/{x:uuid}", inner)
    app.mount("/numbers/{n:int}", inner)
    app.mount("/folders/{p:path}/end", inner)
    outer = FastAPI()
    outer.mount("/{y}", inner)
    app.mount("/outer/{y}", Honest(outer))
    plain = Starlette(routes=[Route("/s/{q}", show), Mount("/m", routes=[Route("/t", show)])])
    app.mount("/plain", plain)
    return app, found


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/top/1", "/top/{x}"),
        ("/v1/orders/7", "/v1/orders/{id}"),
        ("/tenants/acme/in/2", "/tenants/{tenant}/in/{y}"),
        ("/same/7/in/2", "/same/{y}/in/{y}"),
        (f"/ids/{'AB' * 16}/in/2", "/ids/{x:uuid}/in/{y}"),
        ("/numbers/007/in/2", "/numbers/{n:int}/in/{y}"),
        ("/folders/a/b/end/in/2", "/folders/{p:path}/end/in/{y}"),
        ("/outer/1/2/in/3", "/outer/{y}/{y}/in/{y}"),
        ("/plain/s/3", "/plain/s/{q}"),
        ("/plain/m/t", "/plain/m/t"),
    ],
)
async def test_the_route_is_the_whole_template(path: str, route: str) -> None:
    app, found = routes()
    if path.startswith("/plain") and not STARLETTE_TELLS_ROUTES:
        pytest.skip("this Starlette does not say which of its own routes it chose")
    with anyio.fail_after(10):
        response = await fetch(app, path)
    assert (response.status, found) == (200, [route])


def test_without_a_router_there_is_no_route() -> None:
    assert route_of({"type": "http", "path": "/a/1"}) is None
    assert route_of({"type": "http", "route": object()}) is None


FRESH = Progress(0, 0, None, None, "content")


@dataclass(eq=False)
class Open:
    scope: dict[str, Any]
    so_far: Progress = FRESH

    def progress(self) -> Progress:
        return self.so_far


def test_what_is_open_is_listed_the_oldest_first() -> None:
    route = Route("/events", lambda request: PlainTextResponse(""))
    young = Open(SCOPE, Progress(1, 0, None, None, "content"))
    old = Open({**SCOPE, "route": route}, Progress(60, 4096, 20, 30, "client"))
    # A loop that another test has closed may have left some.
    before = open_streams()
    register(young)
    register(old)
    try:
        found = [each for each in open_streams() if each.age in (1, 60)]
    finally:
        forget(young)
        forget(old)
    assert found == [
        OpenStreamInfo("/events", 60, 4096, 20, 30, "client"),
        OpenStreamInfo(None, 1, 0, None, None, "content"),
    ]
    assert len(open_streams()) == len(before)


def test_a_response_that_is_not_listed_can_be_forgotten() -> None:
    forget(Open(SCOPE))


def test_the_list_can_be_read_from_any_thread_while_responses_come_and_go() -> None:
    failures: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                open_streams()
        except BaseException as exc:
            failures.append(exc)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(2000):
        responses = [Open(SCOPE) for _ in range(10)]
        for response in responses:
            register(response)
        for response in responses:
            forget(response)
    stop.set()
    reader.join()
    assert failures == []
