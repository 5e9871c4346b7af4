"""Pace, by the sandbox's own record: fixed rates, and `--rate auto` against limits it is not told of."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from figures import Figure
from processes import SERVER_CORE, script, serving
from product import Product

_KEY: Final = "sandbox-key"
_RATES: Final = (50, 500, 2_000)
_TOLERANCE: Final = 0.005
_LIMITS: Final = (40, 200, 1_000)
_KINDS: Final = ("token-bucket", "fixed-window")
_TOLD: Final[dict[str, tuple[str, ...]]] = {
    "RateLimit headers": ("ratelimit-draft",),
    "no headers": (),
    "Retry-After: 1": ("retry-after-seconds",),
}
_SETTLED_S: Final = 10.0
"""From here on a hidden limit counts as found."""
_SPARE_S: Final = 5.0
_TOGETHER_PER_S: Final = 700
"""Hidden limits that are tried side by side add up to at most this, so as not to disturb each other."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Stage:
    """A sandbox that runs, and a product to call it."""

    port: int
    batch: Path
    product: Product

    def record(self, from_s: float = 0.0, to_s: float = 1e9) -> dict[str, Any]:
        """Return the summary of what the sandbox received; the span bounds `accepted` and `throttled`."""
        address = f"http://127.0.0.1:{self.port}/_sandbox/record?from={from_s}&to={to_s}"
        with urllib.request.urlopen(address, timeout=30) as reply:
            value = json.load(reply)
        assert isinstance(value, dict)
        return value


@contextlib.contextmanager
def _stage(folder: Path, rows: int, trouble: str = "{}") -> Iterator[_Stage]:
    folder.mkdir()
    batch = folder / "batch.csv"
    with serving(script("serve_sandbox.py", batch, rows, trouble), SERVER_CORE) as server:
        product = Product(folder / "runs", f"http://127.0.0.1:{server.port}", _KEY)
        yield _Stage(server.port, batch, product)


def measure_rates(folder: Path, *, quick: bool) -> list[Figure]:
    """Return for each fixed rate how near it was kept, and the fullest second."""
    duration_s = 5 if quick else 20
    figures = []
    for rate in _RATES:
        with _stage(folder / str(rate), rate * duration_s) as stage:
            stage.product.run(stage.batch, "--rate", f"{rate}/s", "--concurrency", 64)
            record = stage.record()
        kept = (record["requests"] - 1) / record["span_s"]
        most, allowed = record["most_in_one_second"], max(rate + 1, int(rate * 1.01))
        off = abs(kept / rate - 1)
        notes = f"{kept:,.2f}/s; {record['requests']:,} calls over {record['span_s']:.2f} s"
        figures += [
            Figure("rate", f"{rate:,}/s: off by", "within 0.5%", f"{off:.2%}", off <= _TOLERANCE, notes),
            Figure(
                "rate",
                f"{rate:,}/s: most in any second",
                f"at most {allowed:,}",
                f"{most:,}",
                most <= allowed,
            ),
        ]
    return figures


@dataclasses.dataclass(frozen=True, slots=True)
class _Trial:
    """One hidden limit."""

    limit: int
    kind: str
    told: str

    def trouble(self) -> str:
        limit = {"kind": self.kind, "requests": self.limit, "per_s": 1.0, "headers": _TOLD[self.told]}
        return json.dumps({"limits": [limit]})


def measure_auto(folder: Path, *, quick: bool) -> list[Figure]:
    """Return for each hidden limit how well `--rate auto` used it from the tenth second on."""
    duration_s = 25.0 if quick else 60.0
    trials = [_Trial(*each) for each in itertools.product(_LIMITS, _KINDS, _TOLD)]
    figures: list[Figure] = []
    for together in _side_by_side(trials):
        with concurrent.futures.ThreadPoolExecutor(len(together)) as threads:
            figures += threads.map(lambda trial: _attempt(folder, trial, duration_s), together)
    return figures


def _attempt(folder: Path, trial: _Trial, duration_s: float) -> Figure:
    rows = int(trial.limit * (duration_s + 2 * _SPARE_S))
    place = folder / f"{trial.limit}-{trial.kind}-{list(_TOLD).index(trial.told)}"
    with _stage(place, rows, trial.trouble()) as stage:
        deadline = f"{duration_s + _SPARE_S:.0f}s"
        stage.product.run(stage.batch, "--rate", "auto", "--deadline", deadline, allowed=(0, 3))
        record = stage.record(_SETTLED_S, duration_s)
    accepted, throttled = record["accepted"], record["throttled"]
    used = accepted / (trial.limit * (duration_s - _SETTLED_S))
    refused = throttled / max(1, accepted + throttled)
    return Figure(
        "auto",
        f"hidden {trial.kind} of {trial.limit:,}/s, {trial.told}",
        "at least 95% used, at most 1% of calls 429",
        f"{used:.1%}, {refused:.2%}",
        used >= 0.95 and refused <= 0.01,
        f"second {_SETTLED_S:.0f} to {duration_s:.0f}; {throttled:,} of {accepted + throttled:,} calls",
    )


def _side_by_side(trials: Iterable[_Trial]) -> Iterator[Sequence[_Trial]]:
    """Yield the trials in groups that fit beside each other."""
    group: list[_Trial] = []
    for trial in trials:
        if sum(other.limit for other in group) + trial.limit > _TOGETHER_PER_S:
            yield group
            group = []
        group.append(trial)
    yield group
