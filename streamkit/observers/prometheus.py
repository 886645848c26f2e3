"""Metrics of responses for Prometheus, by prometheus-client: `streamkit[prometheus]`."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from streamkit.observers.names import BYTES, SECONDS, error_type, known_method
from streamkit.observing import Observer, StreamInfo

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as _missing:
    raise ImportError(
        "streamkit.observers.prometheus needs prometheus-client: "
        "pip install 'streamkit[prometheus]'"
    ) from _missing

if TYPE_CHECKING:
    from streamkit.outcome import StreamOutcome

__all__ = ["PrometheusObserver"]

_REQUEST = ("http_request_method", "http_route")
_RESPONSE = (*_REQUEST, "http_response_status_code")


class _Metrics(NamedTuple):
    active: Gauge
    duration: Histogram
    size: Histogram
    first_byte: Histogram
    ended: Counter


# A metric may be made once for each registry, and an app more than once, in tests for example.
_made: WeakKeyDictionary[CollectorRegistry, _Metrics] = WeakKeyDictionary()


class PrometheusObserver(Observer):
    """Counts and times responses in a registry of prometheus-client.

    | metric | type | labels |
    |---|---|---|
    | `http_server_active_requests` | gauge: responses that are open | method |
    | `http_server_request_duration_seconds` | histogram | method, route, status, error |
    | `http_server_response_body_size_bytes` | histogram | method, route, status |
    | `streamkit_first_byte_seconds` | histogram: until the body began | method, route |
    | `streamkit_ended_total` | counter | method, route, reason |

    The labels are `http_request_method`, `http_route`, `http_response_status_code`, `error_type`
    and `reason`, which is the outcome's. A route is its template; "" stands for what there is none
    of. `registry` is prometheus-client's default one. With `PROMETHEUS_MULTIPROC_DIR` set before
    the import, processes count together, and the gauge is the sum over those that live.

        observe(PrometheusObserver())
        app.mount("/metrics", prometheus_client.make_asgi_app())
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        metrics = _made.get(registry)
        if metrics is None:
            metrics = _made[registry] = _make(registry)
        self._metrics = metrics
        self._began: dict[StreamInfo, float] = {}

    def started(self, info: StreamInfo) -> None:
        self._began[info] = monotonic()
        self._metrics.active.labels(known_method(info.method)).inc()

    def first_byte(self, info: StreamInfo) -> None:
        seconds = monotonic() - self._began[info]
        self._metrics.first_byte.labels(*_labels(info)).observe(seconds)

    def ended(self, info: StreamInfo, outcome: StreamOutcome) -> None:
        metrics, labels = self._metrics, _labels(info)
        del self._began[info]
        status = "" if info.status is None else str(info.status)
        metrics.active.labels(labels[0]).dec()
        metrics.ended.labels(*labels, outcome.reason).inc()
        metrics.size.labels(*labels, status).observe(outcome.bytes_sent)
        error = error_type(info, outcome) or ""
        metrics.duration.labels(*labels, status, error).observe(outcome.duration)


def _labels(info: StreamInfo) -> tuple[str, str]:
    return known_method(info.method), info.route or ""


def _make(registry: CollectorRegistry) -> _Metrics:
    return _Metrics(
        Gauge(
            "http_server_active_requests",
            "Responses that are open.",
            _REQUEST[:1],
            registry=registry,
            multiprocess_mode="livesum",
        ),
        Histogram(
            "http_server_request_duration_seconds",
            "Seconds from the start of a response until its content is closed.",
            (*_RESPONSE, "error_type"),
            registry=registry,
            buckets=SECONDS,
        ),
        Histogram(
            "http_server_response_body_size_bytes",
            "Bytes of a response's body.",
            _RESPONSE,
            registry=registry,
            buckets=BYTES,
        ),
        Histogram(
            "streamkit_first_byte_seconds",
            "Seconds from the start of a response until its body began.",
            _REQUEST,
            registry=registry,
            buckets=SECONDS,
        ),
        Counter(
            "streamkit_ended",
            "Responses that have ended, by reason.",
            (*_REQUEST, "reason"),
            registry=registry,
        ),
    )
