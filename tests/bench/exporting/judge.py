"""Reads an export with the product, and compares each row that it would call with the truth."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from pathlib import Path

from exporting.truth import TRUTH

from worker.errors import InputError
from worker.intake import InputOptions, open_table
from worker.intake.signs import find_signs


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one export.

    Attributes:
        dialect: As the product found it.
        exact: Rows that are called with the ids of the truth.
        invalid: Rows that are not called.
        warned: Rows with other ids, or of a user that is none, that the plan warns of.
        wrong: Such rows of which nobody is told.
        lost: Rows of the truth that are not called, and that no invalid row shows.
        refused: Why the file was refused, or nothing.
    """

    dialect: str = ""
    exact: int = 0
    invalid: int = 0
    warned: int = 0
    wrong: int = 0
    lost: int = 0
    refused: str = ""

    def verdict(self) -> str:
        """Return one word for it: what is never to be said is `WRONG`."""
        if self.refused:
            return "refused"
        if self.wrong or self.lost:
            return "**WRONG**"
        if self.warned:
            return "warned"
        return "exact" if self.exact == _callable() else "safe"


def judge(export: Path, told: str | None = None) -> Judgement:
    """Return how the product reads `export`; `told` is for `--quoting`."""
    try:
        with open_table(export, InputOptions(quoting=told)) as table:
            rows = list(table.rows())
    except InputError as error:
        return Judgement(refused=str(error).split(":", 1)[-1].strip()[:90])
    called = [(row.user_id, row.identifier_id) for row in rows if not row.error_code]
    torn = "torn_row" in {each.code for each in table.warnings.all()}
    before_torn = {
        (row.user_id, row.identifier_id)
        for row, after in itertools.pairwise(rows)
        if torn and after.error_code == "wrong_column_count"
    }
    left: Counter[tuple[str | None, str | None]] = Counter(
        (user, identifier) for user, identifier, _ in TRUTH if user and identifier
    )
    exact = warned = wrong = 0
    for pair in called:
        if left[pair] > 0:
            left[pair] -= 1
            exact += 1
        elif find_signs(*pair) or pair in before_torn:
            warned += 1
        else:
            wrong += 1
    kept = "\n".join(cell for row in rows if row.error_code for cell in row.cells)
    lost = sum(
        1
        for user, identifier, _ in TRUTH
        if left[(user, identifier)] > 0 and (user or "") not in kept and _is_plain(user)
    )
    dialect = (
        f"{table.dialect.get('quoting', table.dialect['format'])}, {table.dialect.get('delimiter', '')!r}"
    )
    return Judgement(dialect, exact, len(rows) - len(called), warned, wrong, lost)


def _is_plain(user: str | None) -> bool:
    return bool(user) and (user or "").isalnum() and (user or "").isascii()


def _callable() -> int:
    return sum(bool(user and identifier) for user, identifier, _ in TRUTH)
