"""How many responses may be open: a place for each, and a 503 for the others."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from streamkit import StreamLimit


def scope(host: str | None = "10.0.0.1", user: str = "") -> dict[str, Any]:
    client = None if host is None else (host, 4000)
    return {"type": "http", "client": client, "headers": [(b"x-user", user.encode())]}


def refused(limit: StreamLimit, request: dict[str, Any]) -> HTTPException:
    with pytest.raises(HTTPException) as caught:
        limit.acquire(request)
    return caught.value


def test_there_are_so_many_places_and_no_more() -> None:
    limit = StreamLimit(total=2, retry_after=7)
    limit.acquire(scope())
    release = limit.acquire(scope("10.0.0.2"))
    error = refused(limit, scope("10.0.0.3"))
    assert (error.status_code, error.headers) == (503, {"Retry-After": "7"})
    assert limit.open == 2
    release()
    limit.acquire(scope("10.0.0.3"))


def test_a_place_is_freed_once() -> None:
    limit = StreamLimit(total=2)
    release = limit.acquire(scope())
    limit.acquire(scope())
    release()
    release()
    assert limit.open == 1


def test_each_client_has_its_own_places() -> None:
    limit = StreamLimit(per_client=1)
    release = limit.acquire(scope("10.0.0.1"))
    limit.acquire(scope("10.0.0.2"))
    assert refused(limit, scope("10.0.0.1")).status_code == 503
    release()
    limit.acquire(scope("10.0.0.1"))


def test_a_refused_request_takes_no_place() -> None:
    limit = StreamLimit(total=2, per_client=1)
    release = limit.acquire(scope("10.0.0.1"))
    refused(limit, scope("10.0.0.1"))
    assert limit.open == 1
    limit.acquire(scope("10.0.0.2"))
    refused(limit, scope("10.0.0.3"))
    release()
    limit.acquire(scope("10.0.0.3"))


def test_clients_can_be_told_apart_by_a_function_of_the_request() -> None:
    def user(request: Request) -> str | None:
        return request.headers["x-user"] or None

    limit = StreamLimit(per_client=1, key=user)
    limit.acquire(scope(user="ann"))
    limit.acquire(scope(user="ben"))
    refused(limit, scope("10.0.0.9", user="ann"))
    for _ in range(3):
        limit.acquire(scope(user=""))


def test_clients_without_an_address_count_for_the_total_alone() -> None:
    limit = StreamLimit(total=2, per_client=1)
    limit.acquire(scope(None))
    limit.acquire(scope(None))
    refused(limit, scope(None))


def test_a_websocket_that_is_refused_by_a_response_counts_as_well() -> None:
    limit = StreamLimit(per_client=1)
    limit.acquire({**scope(), "type": "websocket"})
    refused(limit, scope())


def test_a_key_that_fails_takes_no_place() -> None:
    def broken(request: Request) -> str:
        raise LookupError

    limit = StreamLimit(per_client=1, key=broken)
    with pytest.raises(LookupError):
        limit.acquire(scope())
    assert limit.open == 0


async def later(request: Request) -> str:
    return request.headers["x-user"]


def test_a_key_that_gives_something_to_await_takes_no_place() -> None:
    given = later(Request(scope(user="ann")))
    limit = StreamLimit(per_client=1, key=lambda request: given)
    with pytest.raises(TypeError, match="key must give what tells a client, not something to aw"):
        limit.acquire(scope())
    given.close()
    assert limit.open == 0


def test_nothing_is_kept_of_clients_that_have_gone() -> None:
    limit = StreamLimit(per_client=2)
    for number in range(10):
        releases = [limit.acquire(scope(f"10.0.0.{number}")) for _ in range(2)]
        for release in releases:
            release()
    assert (limit.open, limit._clients) == (0, {})


def test_threads_count_together() -> None:
    limit = StreamLimit(total=1000, per_client=1000)

    def come_and_go() -> None:
        for _ in range(500):
            limit.acquire(scope())()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (limit.open, limit._clients) == (0, {})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "StreamLimit needs total=, per_client= or both"),
        ({"total": 0}, ValueError, "total must be 1 or more, got 0"),
        ({"per_client": -1}, ValueError, "per_client must be 1 or more, got -1"),
        ({"total": 1.5}, TypeError, "total must be a whole number, got 1.5"),
        ({"total": True}, TypeError, "total must be a whole number, got True"),
        ({"total": 1, "retry_after": -1}, ValueError, "retry_after must be 0 or more, got -1"),
        ({"total": 1, "key": "ip"}, TypeError, "key must be a function of the request"),
        ({"per_client": 1, "key": later}, TypeError, "of the request, not async, got <function l"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        StreamLimit(**options)
