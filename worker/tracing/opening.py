"""Whether traces are asked for. The library is imported only then."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Final, Protocol

from worker.ports import Operation

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Tracing(Protocol):
    """Makes spans of calls."""

    def following(self, operation: Operation, server: str) -> contextlib.AbstractContextManager[Operation]:
        """Yield `operation` so that each of its calls to `server` is a span, which ends with the block at last."""

    async def aclose(self) -> None:
        """Hand over what was not exported yet, for a few seconds at most."""


def open_tracing(say: Callable[[str], None]) -> Tracing | None:
    """Return what the environment asks for: None unless it names an endpoint for OTLP over http.

    Source: OpenTelemetry specification, "Environment Variable Specification".

    Args:
        say: Tells the person one line.

    Raises:
        ConfigurationError: A variable is out of its range.
    """
    if not any(os.environ.get(name, "").strip() for name in _ENDPOINTS) or _is_off():
        return None
    try:
        from worker.tracing.spans import OpenTelemetryTracing  # noqa: PLC0415 - see above
    except ImportError:
        say(
            "No traces are made: OTEL_EXPORTER_OTLP_ENDPOINT is set, but the library is not installed. It is in"
            " the extra `otel`: pip install 'bulk-unverify[otel]'."
        )
        return None
    return OpenTelemetryTracing.exporting(say)


def _is_off() -> bool:
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return disabled or os.environ.get("OTEL_TRACES_EXPORTER", "").strip() not in ("", "otlp")
