"""The metrics of a standing worker in Prometheus' words. No label ever holds an id.

Names follow https://prometheus.io/docs/practices/naming/ (base units, `_total` for what only grows).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from worker.model import FAILURES, Depth, Outcome
from worker.web.meter import Meter

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""The text format that every Prometheus reads; nothing here needs another one."""
_OUTCOMES: Final = (Outcome.SUCCEEDED, *sorted(FAILURES), Outcome.EXCLUDED)
"""Those of rows from a queue; they are told before they first happen, so that a rate can be computed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A standing worker at a moment; what grows is counted from the start of the process.

    Attributes:
        rows: Rows by durable outcome.
        unrecorded: Rows with an outcome that could not be made durable.
        buried: Messages that went to the dead letters.
        given_back: Messages that were given back.
        meter: Calls and waits.
        in_flight: Calls in flight.
        rate_per_s: The rate in force, None for unlimited, 0 while no session is open.
        depth: What the queue holds, or None while that is not known.
        trouble: Why the worker is not ready, for people, or empty.
    """

    rows: Mapping[Outcome, int]
    unrecorded: int
    buried: int
    given_back: int
    meter: Meter
    in_flight: int
    rate_per_s: float | None
    depth: Depth | None
    trouble: str


class Metrics(Collector):
    """A registry of one worker's metrics, which are taken when they are asked for.

    Args:
        look: Returns the present moment.
    """

    def __init__(self, look: Callable[[], Moment]) -> None:
        self._look = look
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        """Return the metrics of the present moment, as `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics one by one."""
        now = self._look()
        yield _counter(
            "rows",
            "Rows by durable outcome.",
            "outcome",
            {outcome: now.rows.get(outcome, 0) for outcome in _OUTCOMES},
        )
        yield _counter(
            "rows_not_recorded", "Rows whose outcome could not be made durable.", value=now.unrecorded
        )
        yield _counter(
            "calls", "Calls by HTTP status, or by why there was no answer.", "status", now.meter.calls
        )
        yield _counter("messages_buried", "Messages that went to the dead letters.", value=now.buried)
        yield _counter(
            "messages_given_back", "Messages that were given back to the queue.", value=now.given_back
        )
        yield _waits(now.meter)
        yield _gauge("calls_in_flight", "Calls in flight.", now.in_flight)
        per_s = math.inf if now.rate_per_s is None else now.rate_per_s
        yield _gauge("rate_per_second", "Calls a second that are allowed now: +Inf for no limit.", per_s)
        yield _gauge("ready", "Whether the worker is ready: 1 or 0.", not now.trouble)
        if now.depth is not None:
            yield _queue(now.depth)


def _counter(
    name: str,
    told: str,
    label: str = "",
    values: Mapping[int | str, int] | Mapping[Outcome, int] | None = None,
    value: int | None = None,
) -> Metric:
    family = CounterMetricFamily(f"bulk_unverify_{name}", told, value, labels=[label] if label else None)
    for key, count in (values or {}).items():
        family.add_metric([str(key)], count)
    return family


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(f"bulk_unverify_{name}", told, value)


def _waits(meter: Meter) -> Metric:
    family = SummaryMetricFamily(
        "bulk_unverify_wait_seconds", "What rows waited for, added up over all rows.", labels=["kind"]
    )
    for wait, waited in meter.waits.items():
        family.add_metric([wait], waited.times, waited.seconds)
    return family


def _queue(depth: Depth) -> Metric:
    family = GaugeMetricFamily("bulk_unverify_queue_messages", "Messages in the queue.", labels=["state"])
    states: Iterable[tuple[str, int]] = (("waiting", depth.waiting), ("taken", depth.taken))
    for state, messages in states:
        family.add_metric([state], messages)
    return family
