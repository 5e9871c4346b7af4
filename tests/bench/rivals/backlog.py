"""What every rival's worker is told by its environment, and the rows that it is to call."""

from __future__ import annotations

import csv
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TENANT: Final = os.environ["BENCH_TENANT"]
REDIS: Final = os.environ["BENCH_REDIS"]
HEADERS: Final = {"X-API-KEY": "bench"}


def calls_at_once() -> int:
    """Return how many calls the worker may have in flight."""
    return int(os.environ["BENCH_CONCURRENCY"])


def url_of(user_id: str, identifier_id: str) -> str:
    """Return where a row's call goes."""
    return f"{TENANT}/api/users/{user_id}/emails/{identifier_id}/unverify"


def backlog() -> Iterator[tuple[str, str]]:
    """Yield the rows to publish: of the file and as many as the command line says."""
    with Path(sys.argv[1]).open(newline="", encoding="utf-8") as lines:
        for row in itertools.islice(csv.reader(lines), 1, int(sys.argv[2]) + 1):
            yield row[0], row[1]
