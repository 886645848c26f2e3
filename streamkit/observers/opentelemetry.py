"""Metrics and span events of responses by OpenTelemetry: `streamkit[opentelemetry]`."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from streamkit.observers.names import BYTES, SECONDS, error_type, known_method
from streamkit.observing import Observer, StreamInfo

try:
    from opentelemetry import metrics, trace
    from opentelemetry.util.types import AttributeValue
except ImportError as _missing:
    raise ImportError(
        "streamkit.observers.opentelemetry needs opentelemetry-api: "
        "pip install 'streamkit[opentelemetry]'"
    ) from _missing

if TYPE_CHECKING:
    from streamkit.outcome import StreamOutcome

__all__ = ["OpenTelemetryObserver"]

Attributes = dict[str, AttributeValue]


class OpenTelemetryObserver(Observer):
    """Records responses with OpenTelemetry's metrics, and as events on the request's span.

    | instrument | unit | attributes besides `http.request.method` and `url.scheme` |
    |---|---|---|
    | `http.server.active_requests`, up-down counter | `{request}` | |
    | `http.server.request.duration`, histogram | `s` | route, status, `error.type` |
    | `http.server.response.body.size`, histogram | `By` | route, status, `error.type` |
    | `streamkit.first_byte`, histogram | `s` | route |
    | `streamkit.ended`, counter | `{response}` | route, status, `streamkit.reason` |

    Route and status are `http.route` and `http.response.status_code`. The span that is current when
    the response starts gets the events `streamkit.first_byte` and `streamkit.ended`, the latter
    with `streamkit.reason`, `streamkit.bytes_sent` and `error.type`.

    The first three are the semantic conventions' names. Where opentelemetry-instrumentation-asgi
    records them already, pass `http_names=False`, or streams count twice: they are then called
    `streamkit.active`, `streamkit.duration` and `streamkit.body.size`. `meter_provider` is the
    global one by default; without an SDK nothing is recorded.

        observe(OpenTelemetryObserver())
    """

    def __init__(
        self,
        meter_provider: metrics.MeterProvider | None = None,
        *,
        http_names: bool = True,
    ) -> None:
        meter = metrics.get_meter("streamkit", meter_provider=meter_provider)
        names = _HTTP_NAMES if http_names else _OWN_NAMES
        self._active = meter.create_up_down_counter(
            names[0], "{request}", "Responses that are open."
        )
        self._duration = meter.create_histogram(
            names[1],
            "s",
            "From the start of a response until its content is closed.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._size = meter.create_histogram(
            names[2],
            "By",
            "Size of a response's body.",
            explicit_bucket_boundaries_advisory=BYTES,
        )
        self._first_byte = meter.create_histogram(
            "streamkit.first_byte",
            "s",
            "From the start of a response until its body began.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._ended = meter.create_counter(
            "streamkit.ended", "{response}", "Responses that have ended, by reason."
        )
        self._open: dict[StreamInfo, tuple[float, trace.Span]] = {}

    def started(self, info: StreamInfo) -> None:
        self._open[info] = monotonic(), trace.get_current_span()
        self._active.add(1, _request(info))

    def first_byte(self, info: StreamInfo) -> None:
        began, span = self._open[info]
        self._first_byte.record(monotonic() - began, _routed(info))
        span.add_event("streamkit.first_byte")

    def ended(self, info: StreamInfo, outcome: StreamOutcome) -> None:
        _, span = self._open.pop(info)
        attributes = _routed(info)
        if info.status is not None:
            attributes["http.response.status_code"] = info.status
        reason: Attributes = {"streamkit.reason": outcome.reason}
        error = error_type(info, outcome)
        failed: Attributes = {} if error is None else {"error.type": error}
        self._active.add(-1, _request(info))
        self._ended.add(1, attributes | reason)
        self._duration.record(outcome.duration, attributes | failed)
        self._size.record(outcome.bytes_sent, attributes | failed)
        sent: Attributes = {"streamkit.bytes_sent": outcome.bytes_sent}
        span.add_event("streamkit.ended", reason | sent | failed)


_HTTP_NAMES = (
    "http.server.active_requests",
    "http.server.request.duration",
    "http.server.response.body.size",
)
_OWN_NAMES = ("streamkit.active", "streamkit.duration", "streamkit.body.size")


def _request(info: StreamInfo) -> Attributes:
    return {
        "http.request.method": known_method(info.method),
        "url.scheme": str(info.scope.get("scheme", "http")),
    }


def _routed(info: StreamInfo) -> Attributes:
    attributes = _request(info)
    if info.route is not None:
        attributes["http.route"] = info.route
    return attributes
