"""Which request a row becomes: ids are whole path segments, whatever they hold."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from jobs.catalog import OPERATIONS
from jobs.emails import UNVERIFY_EMAIL, VERIFY_EMAIL
from worker.model import Call, Row

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda id_: id_ not in (".", "..")  # which no input has: however written, proxies fold them into the path
)


def test_the_catalog_knows_both_operations_by_their_names() -> None:
    assert dict(OPERATIONS) == {"unverify-email": UNVERIFY_EMAIL, "verify-email": VERIFY_EMAIL}


@pytest.mark.parametrize(("operation", "verb"), [("unverify-email", "unverify"), ("verify-email", "verify")])
def test_a_plain_row_becomes_a_post_without_a_body(operation: str, verb: str) -> None:
    row = Row(1, "UOtBaOybB6dTpIJNrnkRw", "6cec8047-6149-4d9b-8d99-91c83c22a9dc")
    path = f"users/UOtBaOybB6dTpIJNrnkRw/emails/6cec8047-6149-4d9b-8d99-91c83c22a9dc/{verb}"
    assert OPERATIONS[operation].call(row) == Call("POST", path, None)


@pytest.mark.parametrize(
    "written",
    [
        "6CEC8047-6149-4D9B-8D99-91C83C22A9DC",
        "{6cec8047-6149-4d9b-8d99-91c83c22a9dc}",
        "6cec804761494d9b8d9991c83c22a9dc",
    ],
)
def test_a_guid_is_sent_in_small_letters_with_dashes_and_a_user_id_as_it_is_written(written: str) -> None:
    path = f"users/{written.strip('{}')}/emails/6cec8047-6149-4d9b-8d99-91c83c22a9dc/unverify"
    assert UNVERIFY_EMAIL.call(Row(1, written.strip("{}"), written)).path == path


@pytest.mark.parametrize(
    ("id_", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("../..", "..%2F.."),
        ("a?b=1", "a%3Fb%3D1"),
        ("a#b", "a%23b"),
        ("auth0|5f", "auth0%7C5f"),
        ("a b", "a%20b"),
        ("a+b", "a%2Bb"),
        ("%2F", "%252F"),
        ("é", "%C3%A9"),
        ("a@b.example", "a%40b.example"),
        ("a\\b", "a%5Cb"),
        ("a;b", "a%3Bb"),
        ("a\n", "a%0A"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_an_id_is_one_encoded_segment(id_: str, segment: str) -> None:
    assert UNVERIFY_EMAIL.call(Row(1, id_, "e")).path == f"users/{segment}/emails/e/unverify"
    assert UNVERIFY_EMAIL.call(Row(1, "u", id_)).path == f"users/u/emails/{segment}/unverify"


@given(IDS, IDS)
def test_no_id_changes_the_path(user_id: str, identifier_id: str) -> None:
    path = VERIFY_EMAIL.call(Row(1, user_id, identifier_id)).path
    assert path.isascii()
    assert path.isprintable()
    segments = path.split("/")
    assert [unquote(segment) for segment in segments] == ["users", user_id, "emails", identifier_id, "verify"]
    # What a server or a proxy that resolves dot segments makes of it.
    assert len(URL(f"http://host/{path}").parts) == len(segments) + 1
