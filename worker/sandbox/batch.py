"""A CSV batch that matches a sandbox, with bad, duplicate and vanished rows staged in it."""

from __future__ import annotations

import csv
import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from worker.errors import UsageError
from worker.sandbox.people import People, Person

HEADER: Final = ("user_id", "identifier_id", "email")
_TOO_LONG: Final = "x" * 513
"""One byte more than an id may have."""


@dataclasses.dataclass(frozen=True, slots=True)
class BatchPlan:
    """What a batch holds.

    Attributes:
        rows: Rows in all, the staged ones among them.
        bad: Rows that no validation may let through, in several ways.
        duplicates: Rows that repeat a good row further up.
        vanished: Rows of users that the tenant does not have (any more).
    """

    rows: int
    bad: int = 0
    duplicates: int = 0
    vanished: int = 0

    @property
    def good(self) -> int:
        """Rows of users that the tenant has, each once."""
        return self.rows - self.bad - self.duplicates - self.vanished


@dataclasses.dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What must become of a batch against a sandbox whose trouble is all transient."""

    succeeded: int
    not_found: int
    invalid: int
    duplicate: int

    @property
    def rows(self) -> int:
        """Rows in all."""
        return self.succeeded + self.not_found + self.invalid + self.duplicate


def write_batch(path: Path, people: People, plan: BatchPlan, seed: int) -> BatchOutcome:
    """Write the batch as a CSV file with the header `HEADER` and return what must become of it.

    The first user's row is the first good one, and so on in order. The same arguments write the same bytes.

    Raises:
        UsageError: The plan does not add up, asks for more users than there are, or the file cannot be
            written.
    """
    _check(plan, people)
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            writer.writerows(_rows(people, plan, random.Random(seed)))  # noqa: S311 - staging, not secrets
    except OSError as error:
        raise UsageError(f"The batch cannot be written to {path}: {error.strerror}.") from error
    return BatchOutcome(
        succeeded=plan.good, not_found=plan.vanished, invalid=plan.bad, duplicate=plan.duplicates
    )


def _check(plan: BatchPlan, people: People) -> None:
    if min(plan.rows, plan.bad, plan.duplicates, plan.vanished, plan.good) < 0:
        raise UsageError(
            f"A batch of {plan.rows} rows cannot hold {plan.bad} bad, {plan.duplicates} duplicate and "
            f"{plan.vanished} vanished ones. Ask for more rows."
        )
    if plan.duplicates and not plan.good:
        raise UsageError("A duplicate needs a good row to repeat. Ask for more rows.")
    if plan.good > people.count:
        raise UsageError(
            f"The batch needs {plan.good} users and the sandbox has {people.count}. Ask for more users."
        )


def _rows(people: People, plan: BatchPlan, rng: random.Random) -> Iterator[tuple[str, ...]]:
    """Yield the rows; the first is good where there are duplicates, so that each has one to repeat."""
    kinds = ["bad"] * plan.bad + ["duplicate"] * plan.duplicates + ["vanished"] * plan.vanished
    rng.shuffle(kinds)
    places = rng.sample(range(1 if plan.duplicates else 0, plan.rows), len(kinds))
    staged = dict(zip(places, kinds, strict=True))
    good = vanished = bad = 0
    for place in range(plan.rows):
        kind = staged.get(place)
        if kind is None:
            yield _row(people.person(good))
            good += 1
        elif kind == "duplicate":
            yield _row(people.person(rng.randrange(good)))
        elif kind == "vanished":
            yield _row(people.person(people.count + vanished))
            vanished += 1
        else:
            yield _bad_row(bad)
            bad += 1


def _row(person: Person) -> tuple[str, ...]:
    return person.user_id, person.email_ids[0], person.email


def _bad_row(number: int) -> tuple[str, ...]:
    """Return one of the ways in which a row can be wrong; each keeps its e-mail unlike the others."""
    user, identifier, email = f"bad-user-{number}", f"bad-identifier-{number}", f"bad{number}@acme.example"
    ways = (
        ("", identifier, email),
        (user, "", email),
        (user,),
        (user + _TOO_LONG, identifier, email),
        (user + "\x07", identifier, email),
        (user, "..", email),
        (user, identifier, email, "one cell too many"),
    )
    return ways[number % len(ways)]
