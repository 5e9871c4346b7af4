"""Spans by OpenTelemetry. They hold status and outcome of a call, and neither an id nor the key.

Attribute names: OpenTelemetry semantic conventions, "HTTP client span"; `url.full` is left out, as it holds ids.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Final, Self

import msgspec
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker import __version__
from worker.errors import ConfigurationError
from worker.model import Answer, Call, Decision, Reply, Row, Verdict
from worker.ports import Operation

_SERVICE: Final = "bulk-unverify"
_OUTCOME: Final = "bulk_unverify.outcome"
_NOT_SENT: Final = "not_sent"
_REFUSED: Final = 400
_GOODBYE_S: Final = 3.0


class OpenTelemetryTracing:
    """Makes spans. Implements `worker.tracing.Tracing`.

    Args:
        provider: Where spans go; it is shut down at the end.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(_SERVICE, __version__)

    @classmethod
    def exporting(cls, say: Callable[[str], None]) -> Self:
        """Return one that exports by OTLP over http as the OTEL_ variables say; a thread of its own does it.

        Raises:
            ConfigurationError: One of them is out of its range.
        """
        logging.getLogger("opentelemetry").addHandler(_Warnings(say))
        named = f"{os.environ.get('OTEL_SERVICE_NAME', '')},{os.environ.get('OTEL_RESOURCE_ATTRIBUTES', '')}"
        is_named = not named.startswith(",") or "service.name=" in named
        resource = {} if is_named else {"service.name": _SERVICE}
        try:
            provider = TracerProvider(resource=Resource.create(resource), shutdown_on_exit=False)
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        except ValueError as error:
            said = str(error).rstrip(".")
            raise ConfigurationError(
                f"OpenTelemetry does not take one of the OTEL_ variables: {said}."
            ) from None
        return cls(provider)

    @contextlib.contextmanager
    def following(self, operation: Operation, server: str) -> Iterator[Operation]:
        """Yield `operation` so that each of its calls to `server` is a span, which ends with the block at last."""
        traced = TracedOperation(operation, self._tracer, server)
        try:
            yield traced
        finally:
            traced.close()

    async def aclose(self) -> None:
        """Hand over what was not exported yet, for a few seconds at most; a collector may be lost."""
        handing_over = threading.Thread(target=self._provider.shutdown, daemon=True)
        handing_over.start()
        await asyncio.to_thread(handing_over.join, _GOODBYE_S)


class TracedOperation:
    """An operation whose calls are spans, from the call to its verdict. Implements `worker.ports.Operation`.

    A span is a child of what the row's message names, and its own context goes along with the call.

    Args:
        operation: What is done to a row.
        tracer: Makes the spans.
        server: The tenant.
    """

    def __init__(self, operation: Operation, tracer: Tracer, server: str) -> None:
        self._operation = operation
        self._tracer = tracer
        self._server = server
        self._context = TraceContextTextMapPropagator()
        self._open: dict[int, Span] = {}

    @property
    def name(self) -> str:
        """The operation's name."""
        return self._operation.name

    @property
    def idempotent(self) -> bool:
        """Whether doing it twice is as good as once."""
        return self._operation.idempotent

    def call(self, row: Row) -> Call:
        """Return the request for `row`, and begin its span; one that is open is of a call that was not sent."""
        call = self._operation.call(row)
        self._leave_unsent(row.number)
        parent = self._context.extract({"traceparent": row.traceparent})
        attributes = {"http.request.method": call.method, "server.address": self._server}
        span = self._tracer.start_span(self.name, parent, SpanKind.CLIENT, attributes)
        self._open[row.number] = span
        carrier: dict[str, str] = {}
        self._context.inject(carrier, set_span_in_context(span, parent))
        return msgspec.structs.replace(call, traceparent=carrier.get("traceparent", row.traceparent))

    def judge(self, row: Row, reply: Reply) -> Verdict:
        """Return what `reply` means for `row`, and end its span."""
        verdict = self._operation.judge(row, reply)
        if (span := self._open.pop(row.number, None)) is not None:
            status = reply.status if isinstance(reply, Answer) else None
            if status is not None:
                span.set_attribute("http.response.status_code", status)
            if status is None or status >= _REFUSED:
                span.set_attribute("error.type", str(status or verdict.error_code))
                span.set_status(Status(StatusCode.ERROR))
            final = verdict.decision is Decision.FINAL
            span.set_attribute(_OUTCOME, verdict.outcome if final else verdict.decision.name.lower())
            span.end()
        return verdict

    def close(self) -> None:
        """End what is open: calls that were not sent, or whose answer nobody waits for any more."""
        for number in list(self._open):
            self._leave_unsent(number)

    def _leave_unsent(self, number: int) -> None:
        if (span := self._open.pop(number, None)) is not None:
            span.set_attribute(_OUTCOME, _NOT_SENT)
            span.end()


class _Warnings(logging.Handler):
    """Says once that there was one: the library repeats itself, in words that may hold a header or a login.

    Args:
        say: Tells the person one line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._said = False

    def emit(self, record: logging.LogRecord) -> None:
        """Say it; the calls go on."""
        if not self._said:
            self._said = True
            part = record.name.rpartition(".")[2]
            self._say(
                f"OpenTelemetry warns ({part}): look at the collector and the OTEL_ variables; spans may be lost."
            )
