"""Attempts as spans and metrics, as a collector receives them over OTLP."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import KEY, Flow
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from journeybatch.emulator import Emulator, Faults
from journeybatch.telemetry import CONTENT, observed

TOLD: dict[str, Any] = {"notify": {"opentelemetry": True}}


class Collector(SimpleNamespace):
    """What arrived: ``spans`` and data points by ``metrics``' names, each with ``attributes``; all bytes in ``raw``."""

    def take(self, path: str, body: bytes) -> None:
        self.raw += body
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resource = read(resource.resource.attributes)
                for scope in resource.scope_spans:
                    self.spans += scope.spans
        else:
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    self.metrics.update({metric.name: metric for metric in scope.metrics})

    def attempts(self) -> list[Any]:
        found = [span for span in self.spans if span.name.startswith("chat")]
        return sorted(found, key=lambda span: span.start_time_unix_nano)


def read(attributes: Any) -> dict[str, Any]:
    def value(given: Any) -> Any:
        kind = given.WhichOneof("value")
        return [value(each) for each in given.array_value.values] if kind == "array_value" else getattr(given, kind)

    return {pair.key: value(pair.value) for pair in attributes}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that listens where the environment says."""
    found = Collector(spans=[], metrics={}, raw=b"", resource={})

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.take(self.path, gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield found
    server.shutdown()
    server.server_close()


def test_an_attempt_is_a_span_by_the_conventions(flow: Flow, collector: Collector) -> None:
    flow.run(**TOLD, parameters={"temperature": 0.5, "max_tokens": 50})
    spans = collector.attempts()
    assert len(spans) == 12
    assert {span.name for span in spans} == {"chat deepseek-chat"}
    assert {span.kind for span in spans} == {3}, "CLIENT"
    told = read(spans[0].attributes)
    assert (
        told.items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "127.0.0.1",
            "gen_ai.request.model": "deepseek-chat",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.max_tokens": 50,
            "gen_ai.response.model": "deepseek-chat-v3-0324",
            "gen_ai.response.finish_reasons": ["stop"],
            "server.address": "127.0.0.1",
            "server.port": 80,
            "http.response.status_code": 200,
            "journeybatch.job": "flow",
            "journeybatch.run": 1,
            "journeybatch.rows": 1,
            "journeybatch.attempt": 1,
            "journeybatch.charge": "settled",
            "journeybatch.credits": 1,
        }.items()
    )
    requests = flow.ledger()
    assert {read(span.attributes)["journeybatch.request"] for span in spans} == set(requests["request"])
    assert {read(span.attributes)["gen_ai.response.id"] for span in spans} == set(requests["upstream_id"])
    assert told["gen_ai.usage.input_tokens"] > 0
    (whole,) = (span for span in collector.spans if span.name == "run flow")
    assert {(span.parent_span_id, span.trace_id) for span in spans} == {(whole.span_id, whole.trace_id)}
    assert whole.start_time_unix_nano <= spans[0].start_time_unix_nano
    assert collector.resource["service.name"] == "journeybatch"


def test_metrics_add_up_to_what_the_run_knows(flow: Flow, collector: Collector) -> None:
    flow.run(**TOLD)
    (duration,) = collector.metrics["gen_ai.client.operation.duration"].histogram.data_points
    assert (duration.count, collector.metrics["gen_ai.client.operation.duration"].unit) == (12, "s")
    tokens = {
        read(point.attributes)["gen_ai.token.type"]: point
        for point in collector.metrics["gen_ai.client.token.usage"].histogram.data_points
    }
    results = flow.results()
    assert tokens["input"].sum == results["jb_prompt_tokens"].sum()
    assert tokens["output"].sum == results["jb_completion_tokens"].sum()
    (credits,) = collector.metrics["journeybatch.credits"].sum.data_points
    assert credits.as_int == 12 == flow.emulator.billed


def test_every_attempt_is_told_the_failed_ones_with_their_kind(flow: Flow, collector: Collector) -> None:
    flow.emulator = Emulator(faults=Faults(statuses={503: 0.4}))
    flow.run(**TOLD, limits={"failures": "100%"})
    spans, ledger = collector.attempts(), flow.ledger()
    assert len(spans) == ledger.height > 12
    failed = [read(span.attributes) for span in spans if span.status.code == 2]
    assert len(failed) == ledger["error"].count() > 0
    assert {told["error.type"] for told in failed} == set(ledger["error"].drop_nulls())
    assert {told["journeybatch.charge"] for told in failed} == {"free"}
    assert max(read(span.attributes)["journeybatch.attempt"] for span in spans) > 1


def test_no_prompt_and_no_answer_is_told_unless_the_environment_asks(
    flow: Flow, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.write(["only thing"])
    flow.run(**TOLD)
    assert b"Say something" not in collector.raw
    assert flow.results()["response"][0].encode() not in collector.raw
    collector.spans.clear()
    monkeypatch.setenv(CONTENT, "true")
    flow.write(["other thing"])
    flow.run(**TOLD)
    (told,) = (read(span.attributes) for span in collector.attempts())
    assert json.loads(told["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Say something about other thing"}]}
    ]
    (said,) = json.loads(told["gen_ai.output.messages"])
    assert said["parts"] == [{"type": "text", "content": flow.results()["response"][0]}]
    assert said["finish_reason"] == "stop"


def test_the_key_is_never_told(flow: Flow, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONTENT, "true")
    flow.emulator = Emulator(faults=Faults(statuses={400: 0.2, 500: 0.2}))
    flow.run(**TOLD)
    assert collector.spans
    assert KEY.encode() not in collector.raw


def test_a_service_is_called_as_the_environment_says(
    flow: Flow, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "nightly-reviews")
    flow.run(**TOLD)
    assert collector.resource["service.name"] == "nightly-reviews"


def test_a_collector_that_is_not_there_costs_a_line_and_not_the_run(flow: Flow, call: Any, monkeypatch: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://me:hunter2@127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setattr("journeybatch.telemetry.CLOSE_S", 0.5)
        lines: list[str] = []
        screen = SimpleNamespace(line=lambda text, level="info": lines.append(f"{level}: {text}"))
        monkeypatch.setattr("journeybatch.runner.observed", lambda run, environ, _: observed(run, environ, screen))
        assert flow.run(**TOLD).exit_code == 0
    (line,) = lines
    assert line.startswith("warning: notify.opentelemetry: not all was told")
    assert "hunter2" not in line


def test_a_job_that_does_not_ask_sends_as_if_there_were_no_such_thing() -> None:
    async def send(request: Any) -> Any:
        return request

    with observed(None, {}, SimpleNamespace()) as observe:  # type: ignore[arg-type]
        assert observe(send) is send
