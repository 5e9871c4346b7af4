"""Which columns hold the two ids: by the usual names, by a name or position that was told."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Final

from worker.errors import InputError
from worker.intake.escaped import is_report
from worker.intake.options import InputOptions
from worker.model import REPORT_COLUMNS

_IGNORED: Final = re.compile(r"[\s_\-.\ufeff]+")
_SHOWN_COLUMNS: Final = 12
_SHOWN_CHARS: Final = 40

_USER_NAMES: Final = (
    frozenset({"userid"}),
    frozenset({"user", "uid", "sub", "subject", "subjectid", "useridentifier"}),
)
_IDENTIFIER_NAMES: Final = (
    frozenset({"identifierid"}),
    frozenset({"identifier", "emailid", "emailidentifier", "emailidentifierid"}),
)
"""Normal forms, the documented name before the usual aliases: a column of that name leaves no doubt."""


def find_user(header: Sequence[str], told: str | None, name: str) -> int | None:
    """Return the index of the column with the user's id, or None.

    Args:
        header: The columns' names.
        told: `--user-column`, or None.
        name: What messages call the input.

    Raises:
        InputError: Several columns could be meant, or the one that was told is not there.
    """
    return _find(header, told, "--user-column", _USER_NAMES, name)


def find_identifier(header: Sequence[str], told: str | None, name: str) -> int | None:
    """Return the index of the column with the identifier's id, or None; else as `find_user`."""
    return _find(header, told, "--identifier-column", _IDENTIFIER_NAMES, name)


def find_both(
    header: Sequence[str], options: InputOptions, name: str, *, keys: bool = False
) -> tuple[int, int]:
    """Return the indexes of the user's and the identifier's column; `keys` says that each row names its own.

    Raises:
        InputError: One is missing or in doubt, or both are the same.
    """
    user = find_user(header, options.user_column, name)
    identifier = find_identifier(header, options.identifier_column, name)
    if user is None:
        raise _missing(header, "user_id", "--user-column", name, keys=keys)
    if identifier is None:
        raise _missing(header, "identifier_id", "--identifier-column", name, keys=keys)
    if user == identifier:
        raise InputError(
            f"{name}: the user's and the identifier's column are both {header[user]!r}:"
            " give two with --user-column and --identifier-column."
        )
    return user, identifier


def count_hits(header: Sequence[str], options: InputOptions) -> int:
    """Return how many of the two columns (0 to 2) `header` seems to hold; what a wrong delimiter lacks."""
    wanted = ((options.user_column, _USER_NAMES), (options.identifier_column, _IDENTIFIER_NAMES))
    return sum(
        any(normal(cell) in ({normal(told)} if told else names[0] | names[1]) for cell in header)
        or (told is not None and _position(told, len(header)) is not None)
        for told, names in wanted
    )


def has_own_columns(header: Sequence[str], name: str) -> bool:
    """Tell whether the input is a report of ours, by its `_row` column.

    Raises:
        InputError: It holds other columns of ours, which the next report could not tell from its own.
    """
    if is_report(header):
        return True
    if taken := [column for column in header if column in REPORT_COLUMNS]:
        raise own_column_refusal(name, taken[0])
    return False


def own_column_refusal(place: str, column: str) -> InputError:
    """Return the refusal of a column of ours that stands at `place` in an input whose first lines have no `_row`."""
    return InputError(
        f"{place} has the column {column}, which reports add, but the first lines have no _row: restore the"
        " _row column if this was a report, or rename the column."
    )


def looks_like_header(cells: Sequence[str]) -> bool:
    """Tell whether `cells` are the documented names rather than ids."""
    return {normal(cell) for cell in cells} >= _USER_NAMES[0] | _IDENTIFIER_NAMES[0]


def is_user_name(name: str) -> bool:
    """Tell whether a column's name in its normal form is a usual one of the user's id."""
    return any(name in names for names in _USER_NAMES)


def is_identifier_name(name: str) -> bool:
    """Tell whether a column's name in its normal form is a usual one of the identifier's id."""
    return any(name in names for names in _IDENTIFIER_NAMES)


def normal(column: str) -> str:
    """Return a column's name without case, spaces, underscores, hyphens and dots."""
    return _IGNORED.sub("", column).casefold()


def _find(
    header: Sequence[str], told: str | None, flag: str, tiers: tuple[frozenset[str], ...], name: str
) -> int | None:
    if told is not None:
        return _told(header, told, flag, name)
    for names in tiers:
        found = [index for index, cell in enumerate(header) if normal(cell) in names]
        if found:
            return _only(header, found, flag, name)
    return None


def _told(header: Sequence[str], told: str, flag: str, name: str) -> int:
    for matches in (str.__eq__, lambda cell, wanted: normal(cell) == normal(wanted)):
        if found := [index for index, cell in enumerate(header) if matches(cell, told)]:
            return _only(header, found, flag, name)
    position = _position(told, len(header))
    if position is None:
        guess = _nearest(header, told)
        raise InputError(f"{name} has no column {told!r} ({flag}).{guess} {_listed(header)}")
    return position


def _position(told: str, width: int) -> int | None:
    """Return the index that a position from 1 means; positions of five digits and more mean none."""
    if not (told.isascii() and told.isdecimal() and len(told) < 5):  # noqa: PLR2004 - as the docstring says
        return None
    return int(told) - 1 if 1 <= int(told) <= width else None


def _only(header: Sequence[str], found: list[int], flag: str, name: str) -> int:
    if len(found) == 1:
        return found[0]
    names = " and ".join(f"{header[index]!r} (position {index + 1})" for index in found)
    raise InputError(f"{name}: {names} could both be meant: choose one with {flag} and its name or position.")


def _missing(header: Sequence[str], wanted: str, flag: str, name: str, *, keys: bool) -> InputError:
    if not keys and header and header[0].startswith(("# ", "#TYPE ")):
        return InputError(
            f"{name} begins with a comment ({header[0][:_SHOWN_CHARS]!r}), but the header has to be first: take out"
            " the lines above it (PowerShell's Export-Csv leaves them out with -NoTypeInformation)."
        )
    guess = _nearest(header, wanted)
    otherwise = "" if keys else ", or say --no-header if the first line is a row"
    return InputError(
        f"{name} has no column {wanted}.{guess} {_listed(header)} Name the right one with {flag}{otherwise}."
    )


def _nearest(header: Sequence[str], wanted: str) -> str:
    by_normal = {normal(cell): cell for cell in header}
    near = difflib.get_close_matches(normal(wanted), list(by_normal)[:1000], n=1)
    return f" Was {by_normal[near[0]][:_SHOWN_CHARS]!r} meant?" if near else ""


def _listed(header: Sequence[str]) -> str:
    shown = ", ".join(repr(cell[:_SHOWN_CHARS]) for cell in header[:_SHOWN_COLUMNS])
    more = f" and {len(header) - _SHOWN_COLUMNS} more" if len(header) > _SHOWN_COLUMNS else ""
    return f"Columns found: {shown}{more}."
