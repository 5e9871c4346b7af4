"""Writes the input files of the benches: ids as a tenant makes them, in no order, the same each time."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path

HEADER = ("user_id", "identifier_id", "email")


def pairs(rows: int, seed: int = 2) -> Iterator[tuple[str, str]]:
    """Yield `rows` pairs of a 21-character user id and a UUID, all different.

    Random order matters: sorted ids would flatter whatever finds duplicates with a B-tree.
    """
    source = random.Random(seed)
    for _ in range(rows):
        text = source.randbytes(27).hex()
        yield text[:21], f"{text[21:29]}-{text[29:33]}-4{text[33:36]}-8{text[36:39]}-{text[39:51]}"


def write_batch(path: Path, rows: int) -> None:
    """Write a CSV of `rows` good, different rows with one extra column."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        writer.writerows((user, identifier, f"{user[:9]}@example.com") for user, identifier in pairs(rows))
