"""Traces: one span a call, where the standard variables of OpenTelemetry ask for it."""

from worker.tracing.opening import Tracing, open_tracing

__all__ = ["Tracing", "open_tracing"]
