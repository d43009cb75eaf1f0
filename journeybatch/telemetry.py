"""OpenTelemetry: each attempt as a span, durations, tokens and credits as metrics, by the GenAI conventions.

Where they go is said by the environment, as for every program (``OTEL_EXPORTER_OTLP_ENDPOINT`` and its like). What is
told are names, numbers and kinds of errors. Prompts and answers are told only where the environment asks for them.
What cannot be told never fails a run, and a job that does not ask for this does nothing of it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import msgspec

from journeybatch import __version__
from journeybatch.attempts import request_name
from journeybatch.errors import ApiFailure, SpecError
from journeybatch.progress import Screen
from journeybatch.records import Completion, Request, Send

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CLOSE_S = 5.0
"""How long the last of it may take at the end of a run."""
QUEUE, BATCH = 32_768, 2_048
SCOPE = "journeybatch"
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)

Observe = Callable[[Send], Send]


class Parameters(msgspec.Struct, frozen=True):
    """What of a request's body is told."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


_parameters = msgspec.json.Decoder(Parameters).decode


class Observed(msgspec.Struct, frozen=True):
    """Whose attempts are told: the ``job``, its ``run`` number, and the ``base_url`` that is asked."""

    job: str
    run: int
    base_url: str


def check_telemetry() -> None:
    """Raises SpecError where OpenTelemetry is not installed."""
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk  # noqa: F401
    except ImportError:
        raise SpecError("notify.opentelemetry needs the extra `otel`: pip install 'journeybatch[otel]'") from None


@contextmanager
def observed(run: Observed | None, environ: Mapping[str, str], screen: Screen) -> Iterator[Observe]:
    """What makes a Send tell of itself, for as long as the ``run`` in the body lasts, which is a span, too. Without one
    nothing is told, and a Send stays what it is."""
    if run is None:
        yield lambda send: send
        return
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import set_span_in_context

    resource = Resource.create(_unless_said(environ))
    complaints = _Complaints()
    with complaints.heard():
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        sizes: dict[str, Any] = {} if "OTEL_BSP_MAX_QUEUE_SIZE" in environ else {"max_queue_size": QUEUE}
        sizes |= {} if "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" in environ else {"max_export_batch_size": BATCH}
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), **sizes))
        meters = MeterProvider(
            [PeriodicExportingMetricReader(OTLPMetricExporter())], resource=resource, shutdown_on_exit=False
        )
        tracer, meter = tracers.get_tracer(SCOPE, __version__), meters.get_meter(SCOPE, __version__)
        about: dict[str, Any] = {"journeybatch.job": run.job, "journeybatch.run": run.run}
        whole = tracer.start_span(f"run {run.job}", attributes=about)
        content = environ.get(CONTENT, "").lower() in ("true", "1", "span_only", "span_and_event")
        try:
            yield _Teller(tracer, meter, set_span_in_context(whole), run, content=content).observe
        finally:
            whole.end()
            closing = Thread(target=_close, args=(tracers, meters), daemon=True)
            closing.start()
            closing.join(CLOSE_S)
    if complaints.count or closing.is_alive():
        screen.line("notify.opentelemetry: not all was told; is a collector at OTEL_EXPORTER_OTLP_ENDPOINT?", "warning")


def _close(*providers: Any) -> None:
    for provider in providers:
        provider.shutdown()


def _unless_said(environ: Mapping[str, str]) -> dict[str, str]:
    said = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {"service.version": __version__} | ({} if said else {"service.name": SCOPE})


class _Complaints(logging.Handler):
    """What OpenTelemetry logs of its troubles is counted and not printed: it may name addresses and headers."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += record.levelno >= logging.WARNING

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen in the place of all others."""
        logger = logging.getLogger("opentelemetry")
        before, logger.propagate = logger.propagate, False
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.propagate = before


class _Teller:
    """Tells of attempts, each a child of the run's span."""

    def __init__(self, tracer: Any, meter: Any, parent: Any, run: Observed, *, content: bool) -> None:
        self._tracer, self._parent, self._run, self._content = tracer, parent, run, content
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._credits = meter.create_counter(
            "journeybatch.credits", unit="{credit}", description="Credits that attempts certainly cost."
        )
        where = urlsplit(run.base_url)
        port = where.port or {"http": 80}.get(where.scheme, 443)
        self._common: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _provider(where.hostname),
            **({"server.address": where.hostname, "server.port": port} if where.hostname else {}),
        }

    def observe(self, send: Send) -> Send:
        """``send`` that tells of each of its attempts."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        async def attempt(request: Request) -> Completion:
            common = self._common | {"gen_ai.request.model": request.model}
            span = self._tracer.start_span(
                f"chat {request.model}",
                context=self._parent,
                kind=SpanKind.CLIENT,
                attributes=common | self._asked(request),
            )
            began, ended = time.perf_counter(), common
            try:
                completion = await send(request)
            except BaseException as error:
                kind = error.kind if isinstance(error, ApiFailure) else type(error).__name__
                ended = common | {"error.type": kind}
                span.set_status(Status(StatusCode.ERROR))
                span.set_attribute("error.type", kind)
                if isinstance(error, ApiFailure):
                    span.set_attribute("journeybatch.charge", error.charge)
                raise
            else:
                ended = self._told(span, request, completion, common)
                return completion
            finally:
                self._seconds.record(time.perf_counter() - began, ended)
                span.end()

        return attempt

    def _asked(self, request: Request) -> dict[str, Any]:
        told: dict[str, Any] = {
            f"gen_ai.request.{name}": value
            for name, value in msgspec.structs.asdict(_parameters(request.body)).items()
            if value is not None
        }
        told |= {
            "journeybatch.job": self._run.job,
            "journeybatch.run": self._run.run,
            "journeybatch.request": request_name(request.id),
            "journeybatch.attempt": request.attempt,
            "journeybatch.rows": len(request.prompts),
        }
        if self._content:
            messages = msgspec.json.decode(request.body).get("messages", [])
            told["gen_ai.input.messages"] = json.dumps(
                [_message(each["role"], each["content"]) for each in messages], ensure_ascii=False
            )
        return told

    def _told(self, span: Any, request: Request, completion: Completion, common: dict[str, Any]) -> dict[str, Any]:
        """Tell of a whole reply. Returns the attributes of its metrics."""
        reply = completion.reply
        self._credits.add(request.price.least, common)
        span.set_attribute("journeybatch.charge", "settled")
        span.set_attribute("journeybatch.credits", request.price.least)
        span.set_attribute("http.response.status_code", completion.status)
        if reply is None:
            return common
        said = {
            "gen_ai.response.id": reply.upstream_id,
            "gen_ai.response.model": reply.upstream_model,
            "gen_ai.response.finish_reasons": reply.finish_reason and [reply.finish_reason],
            "gen_ai.usage.input_tokens": reply.prompt_tokens,
            "gen_ai.usage.output_tokens": reply.completion_tokens,
        }
        if self._content:
            text = reply.text if reply.text is not None else reply.refusal or ""
            message = _message("assistant", text) | {"finish_reason": reply.finish_reason or "stop"}
            said["gen_ai.output.messages"] = json.dumps([message], ensure_ascii=False)
        span.set_attributes({name: value for name, value in said.items() if value is not None})
        answered = common | ({"gen_ai.response.model": reply.upstream_model} if reply.upstream_model else {})
        for kind, number in (("input", reply.prompt_tokens), ("output", reply.completion_tokens)):
            if number is not None:
                self._tokens.record(number, answered | {"gen_ai.token.type": kind})
        return answered


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _provider(host: str | None) -> str:
    """The provider's name: one of the conventions' where it is theirs, else its host's."""
    if host is None or host == "journeyapi.co" or host.endswith(".journeyapi.co"):
        return "journeyapi"
    return "openai" if host == "api.openai.com" else host
