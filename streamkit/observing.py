"""What an operator sees of the responses: observers, and the list of open ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import iscoroutinefunction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self
from weakref import ref

from starlette.types import Scope

from streamkit.routes import route_of

if TYPE_CHECKING:
    from streamkit.outcome import StreamOutcome

__all__ = [
    "Observation",
    "Observer",
    "OpenResponse",
    "OpenStreamInfo",
    "Progress",
    "StreamInfo",
    "Waiting",
    "forget",
    "observe",
    "observe_response",
    "open_streams",
    "register",
]

logger: logging.Logger = logging.getLogger("streamkit")

Waiting = Literal["content", "client", "thread"]
"""What an open response waits for: its next item, the client, or a thread for its content."""


Headers = Iterable[tuple[bytes, bytes]]


class StreamInfo:
    """A response, as observers are told of it: one object from `started` to `ended`.

    * `route`: the path template of its route, `"/orders/{id}"`; None without a router.
    * `method`: `"GET"` and the like.
    * `media_type`: that of the response, None if it has none; of a source that brings its own, from
      its start on.
    * `client`: the address that the server tells, or None.
    * `status`: None until the response has started, and for ever if it never does.
    * `scope`: the ASGI scope.

    Compared by identity, so that an observer may keep something for each in a dict.

        def ended(self, info: StreamInfo, outcome: StreamOutcome) -> None:
            print(info.method, info.route, info.status, outcome.reason)
    """

    __slots__ = ("__weakref__", "_route", "client", "media_type", "method", "scope", "status")

    def __init__(self, scope: Scope, media_type: str | None = None) -> None:
        self.scope: Scope = scope
        self._route: str | None = ""
        self.method: str = scope.get("method", "GET")
        self.media_type: str | None = media_type
        self.client: tuple[str, int] | None = scope.get("client")
        self.status: int | None = None

    @property
    def route(self) -> str | None:
        """The path template, with the prefixes of mounts and routers."""
        if self._route == "":
            self._route = route_of(self.scope)
        return self._route

    def __repr__(self) -> str:
        return f"<StreamInfo {self.method} {self.route} {self.status}>"


class Observer:
    """What an observer may have; subclass it, or pass any object with one or more of these.

    The methods are called on the event loop's thread while the response waits for them: take
    microseconds, and hand what takes longer to a thread. What they raise is logged; the
    response goes on.

        class Printer(Observer):
            def ended(self, info, outcome):
                print(info.route, outcome.reason, outcome.bytes_sent)
    """

    def started(self, info: StreamInfo) -> None:
        """A response begins; nothing of its content has run, and nothing was sent."""

    def first_byte(self, info: StreamInfo) -> None:
        """The first bytes of the body were handed to the server; not called without a body."""

    def ended(self, info: StreamInfo, outcome: StreamOutcome) -> None:
        """It is over and its content closed; `outcome` is what `on_close` is told.

        Called exactly once for each `started`.
        """


_EVENTS = ("started", "first_byte", "ended")


class _Registration:
    """Lets `observe` be used as a context manager."""

    def __init__(self, observer: object) -> None:
        calls = {name: getattr(observer, name, None) for name in _EVENTS}
        if isinstance(observer, type) or not any(map(callable, calls.values())):
            raise TypeError(
                f"observe() takes an object with started(info), first_byte(info) or "
                f"ended(info, outcome), got {observer!r}"
            )
        for name, call in calls.items():
            if iscoroutinefunction(call):
                raise TypeError(
                    f"{type(observer).__name__}.{name} must be a plain function, got an async "
                    f"one: a response doesn't wait for its observers; start a task in it"
                )
        self.started: Any | None = calls["started"]
        self.first_byte: Any | None = calls["first_byte"]
        self.ended: Any | None = calls["ended"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        global observers
        observers = tuple(other for other in observers if other is not self)


observers: tuple[_Registration, ...] = ()
"""Empty without observers: then a response checks nothing else."""


def observe(observer: Observer | object) -> _Registration:
    """Tell an observer of every response of this process from now on.

    `observer` has `started(info)`, `first_byte(info)` and `ended(info, outcome)`, or some of these:
    see `Observer`. It is told of the responses that begin while it is registered, up to their end
    even if that comes later. Call it once at start, or use it as a context manager, which takes
    the observer away again. Raises `TypeError` for an object with none of the methods, and for
    async ones.

        with observe(PrometheusObserver()):
            serve()
    """
    global observers
    registration = _Registration(observer)
    observers = (*observers, registration)
    return registration


class Observation:
    """One response and the observers that were there when it began."""

    __slots__ = ("_observers", "info")

    def __init__(self, info: StreamInfo) -> None:
        self.info: StreamInfo = info
        self._observers = observers
        for each in self._observers:
            if each.started is not None:
                _tell(each.started, info)

    def response_started(self, status: int, headers: Headers) -> None:
        """Status and headers were sent."""
        self.info.status, self.info.media_type = status, _media_type(headers)

    def first_byte(self) -> None:
        """The first bytes of the body were sent."""
        for each in self._observers:
            if each.first_byte is not None:
                _tell(each.first_byte, self.info)

    def ended(self, outcome: StreamOutcome) -> None:
        """The response is over; a second call does nothing."""
        told, self._observers = self._observers, ()
        for each in told:
            if each.ended is not None:
                _tell(each.ended, self.info, outcome)


def observe_response(scope: Scope, headers: Headers) -> Observation | None:
    """Begin to tell of a response, if anybody observes."""
    return Observation(StreamInfo(scope, _media_type(headers))) if observers else None


def _media_type(headers: Headers) -> str | None:
    found = next((value for name, value in headers if name.lower() == b"content-type"), None)
    return None if found is None else found.decode("latin-1")


def _tell(call: Callable[..., Any], *args: Any) -> None:
    try:
        call(*args)
    except Exception:
        logger.exception("an observer failed in %s", getattr(call, "__qualname__", call))


class OpenResponse(Protocol):
    """What `open_streams` reads of a response on its way."""

    scope: Scope

    def progress(self) -> Progress: ...


class Progress(NamedTuple):
    """How far a response has come. Seconds; None before the first."""

    age: float
    bytes_sent: int
    since_last_item: float | None
    since_last_send: float | None
    waiting: Waiting


@dataclass(frozen=True, slots=True)
class OpenStreamInfo:
    """A response that is open now.

    `route`: the path template, None without a router. `age`: seconds since it began. `bytes`: of
    the body, handed to the server. `since_last_item`, `since_last_send`: seconds, None before the
    first. `waiting`: for the "content" to give something, for the "client" to take something, or
    for a "thread" to run the content on.

        stuck = [s for s in open_streams() if s.waiting == "client" and s.since_last_send > 60]
    """

    route: str | None
    age: float
    bytes: int
    since_last_item: float | None
    since_last_send: float | None
    waiting: Waiting


# By their `id`; weak, since a loop that is closed under a response never ends it.
_open: dict[int, ref[OpenResponse]] = {}


def register(response: OpenResponse) -> None:
    """List a response from now on."""
    _open[id(response)] = ref(response)


def forget(response: OpenResponse) -> None:
    """It has ended; a response that isn't listed is no error."""
    _open.pop(id(response), None)


def open_streams() -> list[OpenStreamInfo]:
    """The responses that this process has open now, the oldest first; callable from any thread.

    for each in open_streams():
        print(each.route, round(each.age), each.bytes, each.waiting)
    """
    found: list[OpenStreamInfo] = []
    # list() copies the items in one step: the loop's thread may change them meanwhile.
    for key, reference in list(_open.items()):
        if (each := reference()) is not None:
            found.append(OpenStreamInfo(route_of(each.scope), *each.progress()))
        elif _open.get(key) is reference:
            _open.pop(key, None)
    return sorted(found, key=lambda info: -info.age)
