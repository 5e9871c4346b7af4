"""Pages of users."""

from __future__ import annotations

import json
from typing import Any

import pytest

from worker.sandbox.listing import Listing
from worker.sandbox.people import People
from worker.sandbox.tenant import Tenant

_PEOPLE = People(3, 250)


def _page(listing: Listing, query: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    reply = listing.answer(query)
    assert reply.status == 200
    return json.loads(reply.body), json.loads(reply.headers["x-pagination"])


def test_a_walk_meets_everyone_once_in_order_of_creation() -> None:
    listing, met, page = Listing(Tenant(_PEOPLE)), [], 1
    while True:
        users, pagination = _page(listing, f"page={page}&size=100&sort=creation_time:1")
        met += users
        assert pagination == {
            "page_size": 100,
            "current_page": page,
            "total_count": 250,
            "has_previous": page > 1,
            "has_next": page < 3,
        }
        if not pagination["has_next"]:
            break
        page += 1
    assert [user["user_id"] for user in met] == [_PEOPLE.person(i).user_id for i in range(250)]
    times = [user["creation_time"] for user in met]
    assert times == sorted(times)
    assert "private_data" not in met[0]


def test_a_page_past_the_end_is_empty() -> None:
    users, pagination = _page(Listing(Tenant(_PEOPLE)), "page=99&size=100")
    assert users == []
    assert pagination["has_previous"]
    assert not pagination["has_next"]


@pytest.mark.parametrize("field", ["failure_count", "sign_in_success_count", "last_updated", "creation_time"])
@pytest.mark.parametrize("direction", [1, -1])
def test_lists_are_sorted_as_asked(field: str, direction: int) -> None:
    users, _ = _page(Listing(Tenant(_PEOPLE)), f"size=100&sort={field}:{direction}")
    values = [user[field] for user in users]
    assert values == sorted(values, reverse=direction < 0)


def test_a_filter_keeps_those_that_match() -> None:
    listing = Listing(Tenant(_PEOPLE))
    users, pagination = _page(listing, "filter=emails.email%3A*%40acme.example%20AND%20username%3A%22ana*%22")
    wanted = [
        person
        for person in map(_PEOPLE.person, range(250))
        if person.email.endswith("@acme.example") and person.username.startswith("ana")
    ]
    assert pagination["total_count"] == len(wanted) > 0
    assert [user["user_id"] for user in users] == [person.user_id for person in wanted][:10]


def test_a_filter_sees_what_changed() -> None:
    tenant = Tenant(_PEOPLE)
    listing = Listing(tenant)
    assert _page(listing, "filter=disabled:true")[1]["total_count"] == 0
    tenant.disable(_PEOPLE.person(9), revoke_sessions=False, epoch_s=1.0)
    assert [user["user_id"] for user in _page(listing, "filter=disabled:true")[0]] == [
        _PEOPLE.person(9).user_id
    ]


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "size=0", "size=101", "sort=email:1", "sort=creation_time"]
)
def test_wrong_fields_are_a_422_that_names_them(query: str) -> None:
    reply = Listing(Tenant(_PEOPLE)).answer(query)
    problem = json.loads(reply.body)
    assert reply.status == 422
    assert problem["type"].endswith("#validation-error")
    assert list(problem["errors"]) == [query.partition("=")[0]]


@pytest.mark.parametrize("text", ["nonsense", "shoe_size:44", "username:"])
def test_a_filter_that_makes_no_sense_is_a_400(text: str) -> None:
    assert Listing(Tenant(_PEOPLE)).answer(f"filter={text}").status == 400
