"""The first megabyte of a delimited file, looked at before its rows are read: its dialect, and its usual ids."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from worker.intake.dialects import Dialect, Quoting
from worker.intake.evidence import find_quoting, read_sample, told_quoting
from worker.intake.text import Block
from worker.intake.usual import Usual
from worker.intake.watch import Unclear, unclear_in

_EXAMINED_CHARS: Final = 1 << 20


class Form(NamedTuple):
    """What the header told: the delimiter, the columns, and the indexes of the two ids."""

    delimiter: str
    header: list[str]
    ids: tuple[int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Examined:
    """What the first lines told.

    Attributes:
        dialect: How cells are marked.
        usual: The looks of the ids.
        is_row: Tells rows inside of a record; None where the dialect was told.
        unclear: What in an id may be an escape, or None.
        pads: Whether records may lack empty cells at their end.
        blocks: All blocks, those that were looked at too.
    """

    dialect: Dialect
    usual: Usual
    is_row: Callable[[str, list[str]], bool] | None
    unclear: Unclear | None
    pads: bool
    blocks: Iterator[Block]


def examine(blocks: Iterator[Block], form: Form, told: str | None) -> Examined:
    """Look at the first lines; `told` is what `--quoting` says, or None."""
    taken, whole = _take(blocks)
    lines = list(itertools.chain.from_iterable(block.lines for block in taken if not block.cut))
    width = len(form.header)
    sure = True
    if told is None:
        dialect = find_quoting(lines, form.delimiter, width, form.ids, whole=whole)
    else:
        dialect, sure = told_quoting(told, lines, form.delimiter, width, form.ids, whole=whole)
    usual = Usual(form.ids, read_sample(lines, dialect, width, whole=whole).records)
    return Examined(
        dialect,
        usual,
        usual.row_finder(dialect, width) if told is None else None,
        None if told and sure else unclear_in(dialect, told),
        dialect.quoting is Quoting.RFC4180 and form.delimiter != "\t",
        itertools.chain(taken, blocks),
    )


def _take(blocks: Iterator[Block]) -> tuple[list[Block], bool]:
    """Return the first blocks, and whether there are no others."""
    taken: list[Block] = []
    chars = 0
    for block in blocks:
        taken.append(block)
        chars += sum(map(len, block.lines))
        if chars >= _EXAMINED_CHARS:
            return taken, False
    return taken, True
