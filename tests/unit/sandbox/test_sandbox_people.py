"""Users that follow from the seed and their index."""

from __future__ import annotations

import json
import re
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.sandbox.people import People
from worker.sandbox.tenant import Tenant

_PEOPLE = People(7, 5000)


def test_ids_are_unique_and_found_again() -> None:
    people = [_PEOPLE.person(index) for index in range(5000)]
    assert len({person.user_id for person in people}) == 5000
    assert len({email for person in people for email in person.email_ids}) > 7000
    assert all(_PEOPLE.find(person.user_id) == person for person in people)


def test_most_ids_have_the_real_shape() -> None:
    people = [_PEOPLE.person(index) for index in range(5000)]
    usual = [person for person in people if re.fullmatch(r"[A-Za-z0-9_-]{21}", person.user_id)]
    assert 0.97 < len(usual) / len(people) < 0.99
    assert all(uuid.UUID(person.email_ids[0]).version == 4 for person in usual)


@pytest.mark.parametrize("sign", ["/", "|", " ", "ö", "用", "..", "%", "?", "#", "=", '"'])
def test_a_few_ids_prove_path_encoding(sign: str) -> None:
    assert any(sign in _PEOPLE.person(index).user_id for index in range(1000))


def test_some_ids_begin_with_a_dash() -> None:
    assert any(_PEOPLE.person(index).user_id.startswith("-") for index in range(1000))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text("ABCxyz019-_", min_size=21, max_size=21))
def test_ids_that_nobody_has_are_not_found(user_id: str) -> None:
    assert _PEOPLE.find(user_id) is None


def test_those_beyond_the_last_are_well_shaped_and_not_found() -> None:
    assert all(_PEOPLE.find(_PEOPLE.person(index).user_id) is None for index in range(5000, 5200))


def test_another_seed_makes_other_people() -> None:
    assert People(8, 5000).find(_PEOPLE.person(0).user_id) is None
    assert People(7, 5000).person(3) == _PEOPLE.person(3)


def test_documents_have_every_field_and_the_size_of_real_ones() -> None:
    tenant = Tenant(_PEOPLE)
    sizes = []
    for index in range(1000):
        person = _PEOPLE.person(index)
        text = tenant.document(person)
        sizes.append(len(text.encode()))
        user = json.loads(text)
        assert user["user_id"] == person.user_id
        assert user["emails"][0] == {
            "id": person.email_ids[0],
            "email": person.email,
            "primary": True,
            "verified": True,
            "source": "sign_up",
            "verification_source": "email_code",
        }
        assert [email["id"] for email in user["emails"]] == list(person.email_ids)
    assert 1450 < sum(sizes) / len(sizes) < 1750
    assert set(user) == {
        *["user_id", "disabled", "creation_time", "last_updated", "last_activity", "last_sign_in_success"],
        *["last_sign_in_success_ip", "last_sign_in_attempt", "last_sign_in_attempt_ip"],
        *["sign_in_attempts_count", "sign_in_success_count", "failure_count", "block_until"],
        *["password_updated_at", "has_password", "force_password_reset", "last_known_city"],
        *["last_known_region", "last_known_country", "claims", "public_data", "private_data", "connections"],
        *["external_providers", "emails", "phone_numbers", "passkeys", "username"],
    }
    summary = json.loads(tenant.document(person, summary=True))
    assert set(user) - set(summary) == {"public_data", "private_data"}


def test_people_differ_in_how_they_can_sign_in() -> None:
    tenant = Tenant(_PEOPLE)
    users = [json.loads(tenant.document(_PEOPLE.person(index))) for index in range(500)]
    for field in ("passkeys", "external_providers", "phone_numbers", "has_password"):
        assert {bool(user[field]) for user in users} == {True, False}, field
    assert {len(user["emails"]) for user in users} == {1, 2}


def test_a_hundred_thousand_users_cost_nothing_to_make() -> None:
    start = time.perf_counter()
    Tenant(People(1, 100_000))
    assert time.perf_counter() - start < 1.0
