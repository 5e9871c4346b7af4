"""Routes are matched on the raw path: an encoded id can never change them."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sandbox.routes import Action, Route, find_route


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("POST", "users/u/emails/i/unverify", Action.UNVERIFY_EMAIL),
        ("POST", "users/u/emails/i/verify", Action.VERIFY_EMAIL),
        ("POST", "users/u/emails/i/verify/link", Action.VERIFY_LINK),
        ("POST", "users/u/phones/i/unverify", Action.UNVERIFY_PHONE),
        ("POST", "users/u/phones/i/verify", Action.VERIFY_PHONE),
        ("DELETE", "users/u/sessions/i", Action.DELETE_SESSION),
    ],
)
def test_calls_on_an_identifier(method: str, path: str, action: Action) -> None:
    assert find_route(method, f"/api/{path}") == Route(action, "u", "i")


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "users/u", Action.GET_USER),
        ("POST", "users/u/disable", Action.DISABLE),
        ("POST", "users/u/password/force_reset", Action.FORCE_RESET),
        ("GET", "users/u/sessions", Action.LIST_SESSIONS),
    ],
)
def test_calls_on_a_user(method: str, path: str, action: Action) -> None:
    assert find_route(method, f"/api/{path}") == Route(action, "u")


def test_a_list_keeps_its_query() -> None:
    assert find_route("GET", "/api/users?page=2&size=5") == Route(Action.LIST_USERS, query="page=2&size=5")


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/", "/api/api/users/u", "/users/u", "/api/users/u/emails/i", "/api/users//disable"],
)
def test_other_addresses_are_unknown(path: str) -> None:
    assert find_route("POST", path).action is Action.UNKNOWN


def test_a_wrong_method_is_told_apart() -> None:
    assert find_route("GET", "/api/users/u/emails/i/unverify").action is Action.WRONG_METHOD


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_any_encoded_id_arrives_as_it_was(user_id: str, identifier_id: str) -> None:
    path = f"/api/users/{quote(user_id, safe='')}/emails/{quote(identifier_id, safe='')}/unverify"
    assert find_route("POST", path) == Route(Action.UNVERIFY_EMAIL, user_id, identifier_id)
