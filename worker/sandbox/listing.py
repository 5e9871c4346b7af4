"""`GET /users`: filtered, sorted, cut into pages."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import parse_qs

from worker.sandbox.documents import sort_keys
from worker.sandbox.people import Person
from worker.sandbox.replies import Reply, problem
from worker.sandbox.tenant import Tenant

_DEFAULT_SIZE: Final = 10
_MAX_SIZE: Final = 100
_SORTABLE: Final = frozenset(
    {
        "failure_count",
        "last_sign_in_attempt",
        "sign_in_attempts_count",
        "last_sign_in_success",
        "sign_in_success_count",
        "last_activity",
        "block_until",
        "creation_time",
        "last_updated",
    }
)
_FILTERS: Final[Mapping[str, Callable[[Tenant, Person], Sequence[str]]]] = {
    "user_id": lambda _, person: (person.user_id,),
    "username": lambda _, person: (person.username,),
    "email": lambda _, person: (person.email, person.second_email)[: len(person.email_ids)],
    "emails.email": lambda _, person: (person.email, person.second_email)[: len(person.email_ids)],
    "emails.verified": lambda tenant, person: [
        str(tenant.is_verified(person, slot)).lower() for slot in range(len(person.email_ids))
    ],
    "disabled": lambda tenant, person: (str(tenant.standing(person).disabled).lower(),),
}


@dataclasses.dataclass(frozen=True, slots=True)
class ListQuery:
    """What a list is asked for.

    Attributes:
        page: From 1.
        size: Users a page.
        sort: `field:1` or `field:-1`.
        terms: Pairs of a field and a pattern with `*`; a user must meet them all.
    """

    page: int = 1
    size: int = _DEFAULT_SIZE
    sort: str = "creation_time:1"
    terms: tuple[tuple[str, str], ...] = ()


def read_query(query: str) -> ListQuery | Reply:
    """Return what the query string `query` asks for, or the answer that refuses it."""
    given = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    errors: dict[str, list[str]] = {}
    page = _number(given.get("page", "1"), 1, 1 << 31)
    size = _number(given.get("size", str(_DEFAULT_SIZE)), 1, _MAX_SIZE)
    sort = given.get("sort", "creation_time:1")
    field, _, direction = sort.partition(":")
    if page is None:
        errors["page"] = ["Must be a whole number from 1."]
    if size is None:
        errors["size"] = [f"Must be a whole number from 1 to {_MAX_SIZE}."]
    if field not in _SORTABLE or direction not in {"1", "-1"}:
        errors["sort"] = ["Must be a sortable field, a colon, and 1 or -1."]
    if errors or page is None or size is None:
        return problem(422, "One or more fields are wrong.", "#validation-error", errors=errors)
    terms = _terms(given.get("filter", ""))
    if terms is None:
        return problem(400, "The filter could not be understood.")
    return ListQuery(page, size, sort, terms)


def _number(text: str, low: int, high: int) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and low <= int(text) <= high else None


def _terms(text: str) -> tuple[tuple[str, str], ...] | None:
    """Return the terms of `field:pattern AND field:pattern`, or None if it is something else."""
    if not text.strip():
        return ()
    terms = []
    for part in text.split(" AND "):
        field, colon, pattern = part.strip().partition(":")
        pattern = pattern.strip('"').replace("\\", "")
        if not colon or not pattern or field not in _FILTERS:
            return None
        terms.append((field, pattern))
    return tuple(terms)


class Listing:
    """Lists users; keeps the last list's order, so that a walk over its pages finds and sorts once.

    The order is that of the walk's first page for as long as nothing changes.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._key: object = None
        self._order: Sequence[int] = ()

    def answer(self, query: str) -> Reply:
        """Return the page that the query string asks for."""
        asked = read_query(query)
        if isinstance(asked, Reply):
            return asked
        order = self._ordered(asked)
        start = (asked.page - 1) * asked.size
        chosen = order[start : start + asked.size]
        people = self._tenant.people
        body = ",".join(self._tenant.document(people.person(i), summary=True) for i in chosen)
        pagination = {
            "page_size": asked.size,
            "current_page": asked.page,
            "total_count": len(order),
            "has_previous": asked.page > 1,
            "has_next": start + asked.size < len(order),
        }
        return Reply(200, f"[{body}]", headers={"x-pagination": json.dumps(pagination)})

    def _ordered(self, asked: ListQuery) -> Sequence[int]:
        everyone = range(self._tenant.people.count)
        if not asked.terms and asked.sort == "creation_time:1":
            return everyone
        if not asked.terms and asked.sort == "creation_time:-1":
            return everyone[::-1]
        key = (asked.sort, asked.terms, self._tenant.changes)
        if key != self._key:
            self._order = array("I", self._sorted(self._matching(everyone, asked.terms), asked.sort))
            self._key = key
        return self._order

    def _matching(self, indices: Iterable[int], terms: tuple[tuple[str, str], ...]) -> Iterable[int]:
        for index in indices:
            person = self._tenant.people.person(index)
            if all(
                any(fnmatch.fnmatchcase(value, pattern) for value in _FILTERS[field](self._tenant, person))
                for field, pattern in terms
            ):
                yield index

    def _sorted(self, indices: Iterable[int], sort: str) -> list[int]:
        field, _, direction = sort.partition(":")

        def value(index: int) -> int:
            person = self._tenant.people.person(index)
            updated_at = self._tenant.standing(person).updated_at
            return sort_keys(person, self._tenant.created_at(person), updated_at)[field]

        return sorted(indices, key=value, reverse=direction == "-1")
