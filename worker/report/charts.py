"""The page's charts as geometry: values in, bars out. The template draws them as SVG."""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from worker.report.tally import Tally
from worker.report.times import stamper
from worker.units import format_duration

WIDTH: Final = 640
HEIGHT: Final = 120
MOST_BARS: Final = 60
PERCENTILES: Final = (50, 90, 99, 100)
_GAP: Final = 1.0
_EDGES_MS: Final = tuple(step * 10**power for power in range(7) for step in (1, 2, 5))


@dataclasses.dataclass(frozen=True, slots=True)
class Bar:
    """One bar of an SVG chart of `WIDTH` by `HEIGHT`; lengths in its units, the origin on top left.

    Attributes:
        label: What it stands for.
        value: Its figure.
        marked: The part of `value` that is drawn in the colour of trouble.
    """

    label: str
    value: float
    x: float
    width: float
    y: float
    height: float
    marked: float = 0.0
    marked_y: float = 0.0
    marked_height: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Timeline:
    """Requests over time.

    Attributes:
        bars: Requests a second, a bar for each `bar_s` seconds.
        bar_s: Width of a bar.
        peak: The highest bar's figure.
        begins: First instant, as text.
        ends: Last instant, as text.
    """

    bars: list[Bar]
    bar_s: int
    peak: float
    begins: str
    ends: str


def columns(labelled: Sequence[tuple[str, float, float]]) -> list[Bar]:
    """Return upright bars, for (label, value, marked part) each; the highest fills the height."""
    if not labelled:
        return []
    peak = max(value for _, value, _ in labelled) or 1.0
    step = WIDTH / len(labelled)
    bars = []
    for place, (label, value, marked) in enumerate(labelled):
        height, marked_height = HEIGHT * value / peak, HEIGHT * marked / peak
        bars.append(
            Bar(
                label=label,
                value=value,
                x=round(place * step, 2),
                width=round(max(step - _GAP, 0.5), 2),
                y=round(HEIGHT - height, 2),
                height=round(height, 2),
                marked=marked,
                marked_y=round(HEIGHT - marked_height, 2),
                marked_height=round(marked_height, 2),
            )
        )
    return bars


def stack(labelled: Iterable[tuple[str, int]]) -> list[Bar]:
    """Return pieces of one lying bar of `WIDTH`, as long as their share; nothing for zeros."""
    shown = [(label, count) for label, count in labelled if count]
    total = sum(count for _, count in shown)
    pieces, x = [], 0.0
    for label, count in shown:
        width = WIDTH * count / total
        pieces.append(Bar(label, count, round(x, 2), round(width, 2), 0, HEIGHT))
        x += width
    return pieces


def timeline(tally: Tally) -> Timeline | None:
    """Return requests a second over the run's time, in at most `MOST_BARS` bars; None without any call."""
    if not tally.finished:
        return None
    first, last = min(tally.finished), max(tally.finished)
    merged = max(1, math.ceil((last - first + 1) / MOST_BARS))
    bar_s = merged << tally.bucket_shift
    count = (last - first) // merged + 1
    totals, failed = [0] * count, [0] * count
    for bucket, requests in tally.finished.items():
        totals[(bucket - first) // merged] += requests
        failed[(bucket - first) // merged] += tally.failed.get(bucket, 0)
    stamp = stamper()

    def instant(epoch_s: int) -> str:
        return stamp(epoch_s * 1000).replace(".000Z", "Z")

    begin_s = first << tally.bucket_shift
    labelled = [
        (instant(begin_s + place * bar_s), total / bar_s, bad / bar_s)
        for place, (total, bad) in enumerate(zip(totals, failed, strict=True))
    ]
    peak = max(value for _, value, _ in labelled)
    return Timeline(columns(labelled), bar_s, peak, instant(begin_s), instant(begin_s + count * bar_s))


def durations(durations_ms: Mapping[int, int]) -> list[Bar]:
    """Return a histogram of durations with edges 1, 2, 5, 10, 20 ... milliseconds, empty ends cut off."""
    edges = (0, *_EDGES_MS, math.inf)
    bins = [0] * (len(edges) - 1)
    for took, count in durations_ms.items():
        bins[bisect.bisect_right(_EDGES_MS, took)] += count
    filled = [place for place, count in enumerate(bins) if count]
    if not filled:
        return []
    names = [f"{_name(low)} to {_name(high)}" for low, high in pairwise(edges)]
    return columns([(names[place], bins[place], 0) for place in range(filled[0], filled[-1] + 1)])


def percentiles_ms(durations_ms: Mapping[int, int]) -> dict[int, int]:
    """Return the duration that so many percent of the called rows did not exceed (nearest rank)."""
    total = sum(durations_ms.values())
    found: dict[int, int] = {}
    seen = 0
    for took in sorted(durations_ms):
        seen += durations_ms[took]
        for percent in PERCENTILES:
            if percent not in found and seen * 100 >= percent * total:
                found[percent] = took
    return found


def _name(edge_ms: float) -> str:
    if edge_ms == math.inf:
        return "more"
    return f"{edge_ms:g} ms" if edge_ms < 1000 else format_duration(edge_ms / 1000)  # noqa: PLR2004 - a second
