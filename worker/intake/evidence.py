"""Which dialect a delimited file is in, where its first lines leave no doubt; else RFC 4180, and doubts are kept."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from worker.intake.dialects import Dialect, Quoting
from worker.intake.quoting import reads_well

_SEPARATED: Final = frozenset("\t|")
"""Delimiters of files that may never quote; where cells are separated by commas a stray quote is a mistake."""
_ESCAPE: Final = re.compile(r"\\(\r\n|.|\Z)", re.DOTALL)
_WRITTEN: Final = frozenset("\\tnrbfv0N'\"")
"""What writers of bare escapes put after a backslash, the delimiter and a line end aside."""
_SPACES: Final = frozenset("tnr\n")
_DOUBLED: Final = re.compile(r'"(?:[^"]++|"")*+""(?:[^"]++|"")*+"')


class Reading(NamedTuple):
    """How some lines read in a dialect.

    Attributes:
        sound: Whether each record has the right number of cells and no quote is out of place.
        quotes_sound: The same but for the number of cells.
        records: Cells of the sound records that take one line.
    """

    sound: bool
    quotes_sound: bool
    records: list[list[str]]


def read_sample(lines: list[str], dialect: Dialect, width: int, *, whole: bool) -> Reading:
    """Read `lines` as `dialect`; what the last of them leave open counts only if the input is `whole` with them."""
    reader = dialect.reader(lines)
    start = 0
    sound = quotes_sound = True
    records = []
    try:
        for cells in reader:
            end = reader.line_num
            text = lines[start] if end - start == 1 else "".join(lines[start:end])
            start = end
            if not reads_well(text, cells, dialect, width):
                sound = False
                quotes_sound = quotes_sound and reads_well(text, cells, dialect, 0)
            elif len(cells) == width and "\n" not in text[:-1]:
                records.append(cells)
    except csv.Error:
        if whole or reader.line_num < len(lines):
            return Reading(False, False, records)
    return Reading(sound, quotes_sound, records)


def find_quoting(
    lines: list[str], delimiter: str, width: int, ids: tuple[int, int], *, whole: bool
) -> Dialect:
    """Return the dialect of a file that nobody told.

    Another one than RFC 4180 is taken only if the lines contradict that, and each of them agrees with the other. A
    backslash that escapes without quotes contradicts nothing: it is taken where each backslash escapes something,
    one of them another backslash and one a tab or line end.

    Args:
        lines: The lines after the header.
        delimiter: One character.
        width: Cells of a sound record.
        ids: Indexes of the two ids' cells.
        whole: Whether the input ends with them.
    """
    plain = Dialect(delimiter)
    text = "".join(lines)
    if '"' not in text and "\\" not in text:
        return plain
    strict = read_sample(lines, plain, width, whole=whole)
    if _escapes_all(lines, delimiter, width, ids, whole=whole, plain_is_sound=strict.sound):
        return Dialect(delimiter, Quoting.BACKSLASH_BARE)
    if strict.quotes_sound:
        return plain
    escaped = Dialect(delimiter, Quoting.BACKSLASH)
    if '\\"' in text and read_sample(lines, escaped, width, whole=whole).sound:
        return escaped
    bare = Dialect(delimiter, Quoting.NONE)
    if delimiter in _SEPARATED and _never_quotes(read_sample(lines, bare, width, whole=whole), ids):
        return bare
    return plain


def told_quoting(
    word: str, lines: list[str], delimiter: str, width: int, ids: tuple[int, int], *, whole: bool
) -> tuple[Dialect, bool]:
    """Return the dialect that `--quoting` names, and whether it leaves no doubt.

    Of the two with a backslash it is the one that the lines agree with; the first where they agree with both and are
    separated by something else than tabs.
    """
    if word != Quoting.BACKSLASH:
        return Dialect(delimiter, Quoting(word)), True
    quoted, bare = Dialect(delimiter, Quoting.BACKSLASH), Dialect(delimiter, Quoting.BACKSLASH_BARE)
    as_quoted = read_sample(lines, quoted, width, whole=whole)
    as_bare = read_sample(lines, bare, width, whole=whole)
    more = len(as_bare.records) > len(as_quoted.records)  # quotes would make one row of several
    if any(cells[index].startswith('"') for cells in as_bare.records for index in ids):
        return quoted, True
    if not (as_bare.sound and as_quoted.sound) or more:
        return bare if as_bare.sound or (more and not as_quoted.sound) else quoted, True
    text = "".join(lines)
    if delimiter not in _SEPARATED:
        return quoted, '"' in text
    wrapped = any(cell.startswith('"') for cells in as_bare.records for cell in cells)
    escapes = wrapped and '"' in _escapes(text)
    return quoted if escapes else bare, escapes or not wrapped


def _escapes_all(
    lines: list[str], delimiter: str, width: int, ids: tuple[int, int], *, whole: bool, plain_is_sound: bool
) -> bool:
    """Tell whether a backslash escapes, without quotes, beyond doubt."""
    text = "".join(lines)
    after = Counter(found[0] for found in _escapes(text))
    known = _WRITTEN | {delimiter, "\n", "\r"}
    if not after or not set(after) <= known:
        return False
    across = after["\n"] + after["\r"] + after[delimiter]
    letters = after["\\"] and any(after[each] for each in _SPACES)
    if not (letters and delimiter in _SEPARATED) and not (across and not plain_is_sound):
        return False
    reading = read_sample(lines, Dialect(delimiter, Quoting.BACKSLASH_BARE), width, whole=whole)
    return _never_quotes(reading, ids)


def _escapes(text: str) -> Iterator[str]:
    """Yield what stands after each backslash that begins an escape."""
    for found in _ESCAPE.finditer(text):
        yield found[1] or " "


def _never_quotes(reading: Reading, ids: tuple[int, int]) -> bool:
    """Tell whether lines that were read without quotes show that there are none."""
    return reading.sound and not any(
        any(cells[index].startswith('"') for index in ids) or any(map(_DOUBLED.fullmatch, cells))
        for cells in reading.records
    )
