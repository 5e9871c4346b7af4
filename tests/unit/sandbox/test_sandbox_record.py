"""The record: exact, compact, and without the key."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.sandbox.people import People
from worker.sandbox.record import DROPPED, Record, most_in_window
from worker.sandbox.routes import Action

_PEOPLE = People(1, 100)


def _by_force(times_s: list[float], window_s: float) -> int:
    """Count for each window that begins at a request; a fullest one always does."""
    return max((sum(0 <= t - start < window_s for t in times_s) for start in times_s), default=0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 40), max_size=80) | st.lists(st.integers(0, 4000), max_size=80),
    st.sampled_from([1.0, 0.5, 2.0]),
)
def test_the_fullest_second_is_the_one_found_by_force(tenths: list[int], window_s: float) -> None:
    times_s = sorted(tenth / 8 for tenth in tenths)
    assert most_in_window(times_s, window_s) == _by_force(times_s, window_s)


def test_a_window_ends_before_its_last_instant() -> None:
    assert most_in_window([0.0, 1.0, 2.0]) == 1
    assert most_in_window([0.0, 0.999, 1.0]) == 2
    assert most_in_window([]) == 0


def test_what_came_at_a_moment_that_is_not_known_is_counted_where_it_must_have_been() -> None:
    seen, since = [0.0, 0.5, 0.9, 0.9, 1.2, 1.8], [0.0, 0.5, 0.6, 0.6, 1.2, 1.8]
    assert most_in_window(seen) == most_in_window(seen, since_s=since) == 4  # from 0.5 to 1.2
    assert (
        most_in_window(seen, since_s=[-0.5, -0.5, -0.2, 0.3, 1.2, 1.8]) == 2
    )  # not those three and the fourth
    assert most_in_window([2.0, 2.0, 2.0], since_s=[1.0, 1.0, 1.0]) == 0  # nothing that is sure


@given(
    times_s=st.lists(st.floats(0, 10), max_size=30).map(sorted), late_s=st.lists(st.floats(0, 3), min_size=30)
)
def test_however_late_it_was_seen_no_window_held_fewer(times_s: list[float], late_s: list[float]) -> None:
    seen = list(itertools.accumulate(map(float.__add__, times_s, late_s), max))
    since = list(itertools.accumulate(map(float.__sub__, times_s, late_s), max))
    assert most_in_window(seen, since_s=since) <= most_in_window(times_s)


def _filled() -> Record:
    record, person = Record(_PEOPLE), _PEOPLE.person(4)
    arrivals = (
        (10.0, "POST", Action.UNVERIFY_EMAIL, person, (person.user_id, person.email_ids[0]), 200),
        (10.5, "POST", Action.UNVERIFY_EMAIL, person, (person.user_id, person.email_ids[0]), DROPPED),
        (11.2, "GET", Action.GET_USER, person, (person.user_id, ""), 429),
        (12.0, "POST", Action.UNVERIFY_EMAIL, person, (person.user_id, "of another"), 404),
        (12.1, "POST", Action.UNVERIFY_EMAIL, None, ("a stranger", "mail"), 404),
        (30.0, "POST", Action.UNVERIFY_EMAIL, None, ("a stranger", "mail"), 429),
    )
    for now_s, method, action, whom, pair, status in arrivals:
        number = record.arrived((now_s, now_s), method, action, whom, pair)
        if status:
            record.answered(number, status)
    record.acted(0)
    record.acted(1)
    return record


def test_entries_tell_every_request_in_order() -> None:
    entries = list(_filled().entries())
    assert [entry.arrived_s for entry in entries] == [10.0, 10.5, 11.2, 12.0, 12.1, 30.0]
    assert [entry.status for entry in entries] == [200, DROPPED, 429, 404, 404, 429]
    assert entries[1].acted
    assert entries[1].status == DROPPED
    assert (entries[2].method, entries[2].identifier_id) == ("GET", "")
    assert entries[3].identifier_id == "of another"
    assert entries[4][3:5] == ("a stranger", "mail")


def test_counts_by_status_and_pair() -> None:
    record, person = _filled(), _PEOPLE.person(4)
    assert record.by_status() == {DROPPED: 1, 200: 1, 404: 2, 429: 2}
    mail = (person.user_id, person.email_ids[0])
    assert record.by_pair() == {
        mail: 2,
        (person.user_id, ""): 1,
        (person.user_id, "of another"): 1,
        ("a stranger", "mail"): 2,
    }
    assert record.acted_by_pair() == {mail: 2}


def test_a_stretch_of_time_counts_from_the_first_request() -> None:
    record = _filled()
    assert record.answered_between(0.0, 100.0) == (1, 2)
    assert record.answered_between(0.5, 20.0) == (0, 1)
    assert record.answered_between(1.1, 1.3) == (0, 1)


def test_the_summary_adds_up() -> None:
    summary = _filled().summary()
    assert summary["requests"] == 6
    assert summary["dropped"] == 1
    assert sum(summary["by_status"].values()) + summary["dropped"] == 6
    assert summary["by_action"] == {"get-user": 1, "unverify-email": 5}
    assert (summary["pairs"], summary["most_per_pair"], summary["most_in_one_second"]) == (4, 2, 3)
    assert summary["span_s"] == 20.0


def test_every_contact_has_its_own_number() -> None:
    record = Record(_PEOPLE)
    person = next(p for p in map(_PEOPLE.person, itertools.count()) if p.phone_id and len(p.email_ids) == 2)
    names = [*person.email_ids, person.phone_id, ""]
    for name in names:
        record.arrived((0.0, 0.0), "POST", Action.UNVERIFY_EMAIL, person, (person.user_id, name))
    assert [entry.identifier_id for entry in record.entries()] == names
