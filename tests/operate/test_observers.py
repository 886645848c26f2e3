"""The ready-made observers, over the real libraries: what a scrape or an export shows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

pytest.importorskip("prometheus_client")
pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streamkit import SendTimeout, StreamOutcome, observe
from streamkit.observers.opentelemetry import OpenTelemetryObserver
from streamkit.observers.prometheus import PrometheusObserver
from streamkit.observing import observe_response

ROOT = Path(__file__).parents[2]
SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "scheme": "https",
    "route": Route("/rows/{day}", lambda request: None),
}
COMPLETE = StreamOutcome("complete", 1000, 0.5)


def respond(outcome: StreamOutcome, status: int | None = 200, **scope: Any) -> None:
    observation = observe_response(SCOPE | scope, [(b"content-type", b"text/plain")])
    assert observation is not None
    observation.info.status = status
    if outcome.bytes_sent:
        observation.first_byte()
    observation.ended(outcome)


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(found: Samples, name: str, **labels: str) -> float:
    return sum(
        value
        for (known, having), value in found.items()
        if known == name and labels.items() <= dict(having).items()
    )


def test_prometheus_text_has_durations_bytes_and_reasons() -> None:
    registry = CollectorRegistry()
    with observe(PrometheusObserver(registry)):
        respond(COMPLETE)
        respond(StreamOutcome("disconnect", 500, 30.0))
        respond(StreamOutcome("timeout", 0, 2.0, SendTimeout(2.0)), status=None)
        open_one = observe_response(SCOPE, [])
        text = generate_latest(registry).decode()
        assert open_one is not None
        open_one.ended(COMPLETE)
    found = samples(text)
    route = {"http_route": "/rows/{day}", "http_request_method": "GET"}
    assert total(found, "http_server_active_requests", http_request_method="GET") == 1
    assert total(found, "streamkit_ended_total", reason="complete", **route) == 1
    assert total(found, "streamkit_ended_total", reason="disconnect") == 1
    assert total(found, "streamkit_ended_total", reason="timeout") == 1
    duration = "http_server_request_duration_seconds"
    assert total(found, f"{duration}_sum", http_response_status_code="200", error_type="") == 30.5
    assert total(found, f"{duration}_count", error_type="SendTimeout") == 1
    assert total(found, f"{duration}_bucket", le="10.0", http_response_status_code="200") == 1
    size = "http_server_response_body_size_bytes"
    assert total(found, f"{size}_sum", **route) == 1500
    assert total(found, "streamkit_first_byte_seconds_count", **route) == 2
    assert total(samples(generate_latest(registry).decode()), "http_server_active_requests") == 0


def test_prometheus_labels_take_no_value_that_a_client_makes_up() -> None:
    registry = CollectorRegistry()
    with observe(PrometheusObserver(registry)):
        respond(COMPLETE, method="MADE-UP", route=None)
    found = samples(generate_latest(registry).decode())
    assert total(found, "streamkit_ended_total", http_request_method="_OTHER", http_route="") == 1


def test_two_prometheus_observers_of_a_registry_share_its_metrics() -> None:
    registry = CollectorRegistry()
    for _ in range(2):
        with observe(PrometheusObserver(registry)):
            respond(COMPLETE)
    found = samples(generate_latest(registry).decode())
    assert total(found, "streamkit_ended_total") == 2


PROCESS = """
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from streamkit import StreamOutcome, observe
from streamkit.observers.prometheus import PrometheusObserver
from streamkit.observing import observe_response

observe(PrometheusObserver())
observe_response({"type": "http", "method": "GET"}, []).ended(StreamOutcome("complete", 7, 0.5))
left_open = observe_response({"type": "http", "method": "GET"}, [])
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def test_processes_count_together(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-c", PROCESS],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    found = samples(ended.stdout)
    assert total(found, "streamkit_ended_total", reason="complete") == 2
    assert total(found, "http_server_response_body_size_bytes_sum") == 14
    # Nobody has said that the first process is gone: prometheus-client's mark_process_dead does.
    assert found["http_server_active_requests", (("http_request_method", "GET"),)] == 2


Points = dict[tuple[str, tuple[tuple[str, Any], ...]], Any]


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    yield (reader := InMemoryMetricReader())
    reader.shutdown()


def points(reader: InMemoryMetricReader) -> Points:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        (metric.name, tuple(sorted(dict(point.attributes or {}).items()))): point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


REQUEST = {"http.request.method": "GET", "url.scheme": "https"}
ROUTED = {**REQUEST, "http.route": "/rows/{day}"}
OK = {**ROUTED, "http.response.status_code": 200}


def point(found: Points, name: str, attributes: dict[str, Any]) -> Any:
    return found[name, tuple(sorted(attributes.items()))]


def test_opentelemetry_exports_durations_bytes_and_reasons(reader: InMemoryMetricReader) -> None:
    with observe(OpenTelemetryObserver(MeterProvider([reader]))):
        respond(COMPLETE)
        respond(StreamOutcome("error", 10, 1.5, LookupError("gone")))
        respond(StreamOutcome("cancelled", 0, 1.0), status=None)
        open_one = observe_response(SCOPE, [])
        found = points(reader)
        assert open_one is not None
    assert point(found, "http.server.active_requests", REQUEST).value == 1
    assert point(found, "streamkit.ended", OK | {"streamkit.reason": "complete"}).value == 1
    assert point(found, "streamkit.ended", OK | {"streamkit.reason": "error"}).value == 1
    duration = point(found, "http.server.request.duration", OK)
    assert (duration.count, duration.sum, duration.explicit_bounds[-1]) == (1, 0.5, 3600)
    failed = OK | {"error.type": "LookupError"}
    assert point(found, "http.server.request.duration", failed).sum == 1.5
    never = ROUTED | {"error.type": "cancelled"}
    assert point(found, "http.server.request.duration", never).count == 1
    assert point(found, "http.server.response.body.size", OK).sum == 1000
    assert point(found, "streamkit.first_byte", ROUTED).count == 2


def test_opentelemetry_can_leave_the_http_names_to_others(reader: InMemoryMetricReader) -> None:
    with observe(OpenTelemetryObserver(MeterProvider([reader]), http_names=False)):
        respond(COMPLETE)
    names = {name for name, _ in points(reader)}
    assert names == {
        "streamkit.active",
        "streamkit.body.size",
        "streamkit.duration",
        "streamkit.ended",
        "streamkit.first_byte",
    }


def test_the_span_of_the_request_gets_events(reader: InMemoryMetricReader) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    observer = OpenTelemetryObserver(MeterProvider([reader]))
    with observe(observer), tracer.start_as_current_span("request"):
        observation = observe_response(SCOPE, [])
        assert observation is not None
        # The body may be sent in another task, in which no span is current.
        with trace.use_span(trace.INVALID_SPAN):
            observation.first_byte()
            observation.ended(StreamOutcome("timeout", 10, 1.0, SendTimeout(1.0)))
    (span,) = exporter.get_finished_spans()
    first, last = span.events
    assert (first.name, last.name) == ("streamkit.first_byte", "streamkit.ended")
    assert dict(last.attributes or {}) == {
        "streamkit.reason": "timeout",
        "streamkit.bytes_sent": 10,
        "error.type": "SendTimeout",
    }


def test_without_an_sdk_opentelemetry_records_nothing() -> None:
    with observe(OpenTelemetryObserver()):
        respond(COMPLETE)


def test_an_observer_keeps_nothing_of_what_has_ended() -> None:
    prometheus = PrometheusObserver(CollectorRegistry())
    opentelemetry = OpenTelemetryObserver()
    with observe(prometheus), observe(opentelemetry):
        respond(COMPLETE)
    assert (prometheus._began, opentelemetry._open) == ({}, {})


def test_a_client_that_leaves_is_no_error_and_a_status_of_ours_is(
    reader: InMemoryMetricReader,
) -> None:
    with observe(OpenTelemetryObserver(MeterProvider([reader]))):
        respond(StreamOutcome("disconnect", 10, 0.5))
        respond(COMPLETE, status=503)
    found = points(reader)
    assert point(found, "http.server.request.duration", OK).count == 1
    busy = ROUTED | {"http.response.status_code": 503, "error.type": "503"}
    assert point(found, "http.server.request.duration", busy).count == 1


@pytest.mark.parametrize("name", ["prometheus", "opentelemetry"])
def test_a_library_that_is_missing_is_named(name: str) -> None:
    library = {"prometheus": "prometheus_client", "opentelemetry": "opentelemetry"}[name]
    program = f"import sys; sys.modules['{library}'] = None; import streamkit.observers.{name}"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"pip install 'streamkit[{name}]'" in ended.stderr
