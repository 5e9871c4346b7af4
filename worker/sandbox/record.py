"""What the sandbox received: its own record, which tests believe instead of the client's word."""

from __future__ import annotations

import collections
import math
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from worker.sandbox.people import People, Person
from worker.sandbox.routes import Action

DROPPED: Final = 0
"""The status of a request that got no HTTP answer (yet)."""
_THROTTLED: Final = 429
_OK: Final = range(200, 300)
_SLOTS: Final = 4
_NO_SLOT: Final = 3
_STRANGERS: Final = 1 << 48
_ACTIONS: Final = tuple(Action)


class Entry(NamedTuple):
    """One request.

    Attributes:
        arrived_s: When its head had been read, on the sandbox's monotonic clock.
        method: HTTP method.
        action: What it asked for.
        user_id: Decoded; empty where the call has none.
        identifier_id: Decoded; empty where the call has none.
        status: What was answered, or `DROPPED`.
        acted: Whether the call was done, whatever was answered.
    """

    arrived_s: float
    method: str
    action: Action
    user_id: str
    identifier_id: str
    status: int
    acted: bool


def most_in_window(
    times_s: Sequence[float], window_s: float = 1.0, *, since_s: Sequence[float] | None = None
) -> int:
    """Return the most of the ascending `times_s` that lie in any half-open window of `window_s`.

    With `since_s`, ascending too, each was at some moment from there to its time: the most that lie in a window
    whenever they were.
    """
    starts_s = times_s if since_s is None else since_s
    most = first = 0
    for last, time_s in enumerate(times_s):
        while first <= last and time_s - starts_s[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


class PairNames:
    """Gives each (user, identifier) pair a number; only pairs that the tenant does not have are kept."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._numbers: dict[tuple[str, str], int] = {}
        self._strangers: list[tuple[str, str]] = []

    def number(self, person: Person | None, user_id: str, identifier_id: str) -> int:
        """Return the pair's number; `person` is who has `user_id`."""
        slot = _slot(person, identifier_id) if person is not None else None
        if person is not None and slot is not None:
            return person.place * _SLOTS + slot
        pair = (user_id, identifier_id)
        if pair not in self._numbers:
            self._numbers[pair] = _STRANGERS + len(self._strangers)
            self._strangers.append(pair)
        return self._numbers[pair]

    def pair(self, number: int) -> tuple[str, str]:
        """Return the pair that has `number`."""
        if number >= _STRANGERS:
            return self._strangers[number - _STRANGERS]
        person = self._people.person(number // _SLOTS)
        slot = number % _SLOTS
        if slot == _NO_SLOT:
            return person.user_id, ""
        return person.user_id, person.email_ids[slot] if slot < len(person.email_ids) else person.phone_id


def _slot(person: Person, identifier_id: str) -> int | None:
    if not identifier_id:
        return _NO_SLOT
    if identifier_id in person.email_ids:
        return person.email_ids.index(identifier_id)
    return 2 if identifier_id == person.phone_id else None


class Record:
    """Every request in order of arrival, about 35 bytes each. Holds no key and no body.

    Attributes:
        keys: How many requests came with a key that was `right`, `wrong` or `missing`.
        elsewhere: Requests that followed a redirect, and how many of them brought a key.
    """

    def __init__(self, people: People) -> None:
        self._names = PairNames(people)
        self._since_s = array("d")
        self._arrived_s = array("d")
        self._pairs = array("Q")
        self._statuses = array("H")
        self._actions = array("B")
        self._methods = array("B")
        self._acted = array("B")
        self._method_names: list[str] = []
        self.keys: collections.Counter[str] = collections.Counter(right=0, wrong=0, missing=0)
        self.elsewhere: collections.Counter[str] = collections.Counter(requests=0, with_key=0)

    def __len__(self) -> int:
        return len(self._statuses)

    def arrived(
        self,
        times_s: tuple[float, float],
        method: str,
        action: Action,
        person: Person | None,
        pair: tuple[str, str],
    ) -> int:
        """Add a request, dropped until `answered` says otherwise; return its number from 0.

        Args:
            times_s: Before what moment it did not come, and when it was seen; the same unless that was held up.
            method: HTTP method.
            action: What it asks for.
            person: Whom it concerns.
            pair: The ids that it names.
        """
        if method not in self._method_names:
            self._method_names.append(method)
        self._since_s.append(times_s[0])
        self._arrived_s.append(times_s[1])
        self._pairs.append(self._names.number(person, *pair))
        self._statuses.append(DROPPED)
        self._actions.append(_ACTIONS.index(action))
        self._methods.append(self._method_names.index(method))
        self._acted.append(0)
        return len(self._statuses) - 1

    def acted(self, number: int) -> None:
        """Note that a request's call was done."""
        self._acted[number] = 1

    def answered(self, number: int, status: int) -> None:
        """Note what a request was answered."""
        self._statuses[number] = status

    def entries(self) -> Iterator[Entry]:
        """Return every request in order of arrival."""
        for number in range(len(self)):
            yield Entry(
                self._arrived_s[number],
                self._method_names[self._methods[number]],
                _ACTIONS[self._actions[number]],
                *self._names.pair(self._pairs[number]),
                self._statuses[number],
                bool(self._acted[number]),
            )

    def by_status(self) -> dict[int, int]:
        """Return the number of requests by status; `DROPPED` among them."""
        return dict(sorted(collections.Counter(self._statuses).items()))

    def by_pair(self) -> dict[tuple[str, str], int]:
        """Return the number of requests of each pair; the identifier is empty for calls that name none.

        Calls that name no user either (a list of users) are left out.
        """
        counted = {self._names.pair(number): n for number, n in collections.Counter(self._pairs).items()}
        counted.pop(("", ""), None)
        return counted

    def acted_by_pair(self) -> dict[tuple[str, str], int]:
        """Return how often the calls of each pair were done; pairs whose calls never were are left out."""
        done = collections.Counter(p for p, acted in zip(self._pairs, self._acted, strict=True) if acted)
        return {self._names.pair(number): n for number, n in done.items()}

    def most_in_one_second(self) -> int:
        """Return the most requests that were seen in any one second."""
        return most_in_window(self._arrived_s)

    def surely_in_one_second(self) -> int:
        """Return the most that were sent in any one second whenever they came while the sandbox was held up."""
        return most_in_window(self._arrived_s, since_s=self._since_s)

    def answered_between(self, from_s: float, to_s: float) -> tuple[int, int]:
        """Return (2xx, 429) of requests that arrived in [from_s, to_s) seconds after the first."""
        start_s = self._arrived_s[0] if self._arrived_s else 0.0
        statuses = [
            status
            for arrived_s, status in zip(self._arrived_s, self._statuses, strict=True)
            if from_s <= arrived_s - start_s < to_s
        ]
        return sum(status in _OK for status in statuses), statuses.count(_THROTTLED)

    def summary(self, from_s: float = 0.0, to_s: float = math.inf) -> dict[str, Any]:
        """Return the figures, fit for JSON: `accepted` and `throttled` are those of `answered_between`.

        `named` requests name a user.
        """
        pairs = self.by_pair()
        accepted, throttled = self.answered_between(from_s, to_s)
        statuses = self.by_status()
        dropped = statuses.pop(DROPPED, 0)
        actions = collections.Counter(_ACTIONS[number] for number in self._actions)
        return {
            "requests": len(self),
            "named": sum(pairs.values()),
            "dropped": dropped,
            "acted": sum(self._acted),
            "by_status": {str(status): n for status, n in statuses.items()},
            "by_action": {action.value: n for action, n in sorted(actions.items())},
            "pairs": len(pairs),
            "most_per_pair": max(pairs.values(), default=0),
            "most_in_one_second": self.most_in_one_second(),
            "surely_in_one_second": self.surely_in_one_second(),
            "span_s": self._arrived_s[-1] - self._arrived_s[0] if len(self) else 0.0,
            "accepted": accepted,
            "throttled": throttled,
            "keys": dict(self.keys),
            "elsewhere": dict(self.elsewhere),
        }
