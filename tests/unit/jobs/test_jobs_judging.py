"""What a reply means for its row."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.emails import UNVERIFY_EMAIL, VERIFY_EMAIL
from worker.model import Answer, Damage, Decision, NoAnswer, Outcome, Reply, Row, Trouble, Verdict
from worker.nesting import DEEPEST

ROW = Row(7, "user-7", "mail-7")
JSON = {"Content-Type": "application/json"}
PROBLEM = {"Content-Type": "application/problem+json"}
DEEP = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def nested(levels: int, inner: bytes = b"") -> bytes:
    """Return a user's document with a field that has so many levels, the document's own included."""
    arrays = levels - 1
    return user()[:-1] + b', "x":' + b"[" * arrays + inner + b"]" * arrays + b"}"


def contact(id_: str, *, verified: bool | None) -> dict[str, object]:
    return {"id": id_, "email": f"{id_}@example.com", "verified": verified}


def user(**changed: object) -> bytes:
    document: dict[str, object] = {
        "user_id": "user-7",
        "has_password": False,
        "external_providers": [],
        "emails": [contact("mail-7", verified=False)],
        "phone_numbers": [],
        "passkeys": [],
        "username": None,
    }
    return json.dumps(document | changed).encode()


def judge(status: int, body: bytes = b"", damage: Damage = Damage.NONE) -> Verdict:
    return UNVERIFY_EMAIL.judge(ROW, Answer(status, JSON, body, damage))


def test_a_document_that_shows_the_email_unverified_is_a_success() -> None:
    verdict = judge(200, user(has_password=True))
    assert verdict == Verdict(Decision.FINAL, Outcome.SUCCEEDED, 200, "", "", 0, lockout_risk=False)


def test_the_inverse_operation_wants_it_verified() -> None:
    answer = Answer(200, JSON, user(emails=[contact("mail-7", verified=True)]))
    verdict = VERIFY_EMAIL.judge(ROW, answer)
    assert (verdict.outcome, verdict.verified_contacts_left) == (Outcome.SUCCEEDED, 1)
    assert UNVERIFY_EMAIL.judge(ROW, answer).outcome is Outcome.UNCONFIRMED
    assert VERIFY_EMAIL.judge(ROW, Answer(200, JSON, user())).outcome is Outcome.UNCONFIRMED


@pytest.mark.parametrize(
    "written", ["6CEC8047-6149-4D9B-8D99-91C83C22A9DC", "{6cec804761494d9b8d9991c83c22a9dc}"]
)
@pytest.mark.parametrize(
    "shown", ["6cec8047-6149-4d9b-8d99-91c83c22a9dc", "6CEC8047-6149-4D9B-8D99-91C83C22A9DC"]
)
def test_a_guid_is_found_in_the_document_in_any_spelling(written: str, shown: str) -> None:
    other = contact("6cec8047-6149-4d9b-8d99-91c83c22a9dd", verified=True)
    emails = [other, contact(shown, verified=False)]
    for operation, outcome in ((UNVERIFY_EMAIL, Outcome.SUCCEEDED), (VERIFY_EMAIL, Outcome.UNCONFIRMED)):
        verdict = operation.judge(Row(7, "user-7", written), Answer(200, JSON, user(emails=emails)))
        assert (verdict.outcome, verdict.error_code) == (
            outcome,
            "" if outcome == "succeeded" else "not_changed",
        )
    missing = UNVERIFY_EMAIL.judge(Row(7, "user-7", written), Answer(200, JSON, user(emails=[other])))
    assert missing.error_code == "identifier_missing"


def test_verified_emails_and_phones_that_are_left_are_counted() -> None:
    emails = [contact("mail-7", verified=False), contact("b", verified=True), contact("c", verified=None)]
    verdict = judge(200, user(emails=emails, phone_numbers=[contact("p", verified=True)]))
    assert (verdict.verified_contacts_left, verdict.lockout_risk) == (2, False)


@pytest.mark.parametrize(
    ("changed", "risk"),
    [
        ({}, True),
        ({"phone_numbers": [contact("p", verified=False)]}, True),
        ({"phone_numbers": None, "passkeys": None, "external_providers": None, "has_password": None}, True),
        ({"has_password": True}, False),
        ({"passkeys": [{"passkey_id": "k"}]}, False),
        ({"external_providers": [{"authenticator": "google"}]}, False),
        ({"phone_numbers": [contact("p", verified=True)]}, False),
    ],
)
def test_a_user_with_nothing_to_sign_in_with_may_be_locked_out(
    changed: dict[str, object], risk: bool
) -> None:
    assert judge(200, user(**changed)).lockout_risk is risk


def test_an_odd_neighbour_does_not_hide_the_success() -> None:
    emails = [{"id": None, "verified": None}, {}, contact("mail-7", verified=False)]
    assert judge(200, user(emails=emails)).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (user(emails=[contact("another", verified=False)]), "identifier_missing"),
        (user(emails=[]), "identifier_missing"),
        (user(emails=[], phone_numbers=[contact("mail-7", verified=False)]), "identifier_missing"),
        (user(emails=[contact("mail-7", verified=True)]), "not_changed"),
        (user(emails=[contact("mail-7", verified=None)]), "not_changed"),
        (user(emails=[{"id": "mail-7"}]), "not_changed"),
        (user(emails=[contact("mail-7", verified=False), contact("mail-7", verified=True)]), "not_changed"),
        (user(user_id="user-8"), "another_user"),
        (user(user_id="USER-7"), "another_user"),
        (user(user_id=""), "another_user"),
        (user(user_id="user-8", emails=[]), "another_user"),
    ],
)
def test_a_user_that_does_not_show_it_is_the_tenants_word_and_unconfirmed(body: bytes, code: str) -> None:
    verdict = judge(200, body)
    assert (verdict.decision, verdict.outcome, verdict.foreign) == (
        Decision.FINAL,
        Outcome.UNCONFIRMED,
        False,
    )
    assert (verdict.error_code, verdict.status) == (code, 200)
    assert verdict.error_message
    assert verdict.lockout_risk is None


def test_how_deep_a_document_may_be_nested_is_the_same_on_every_python() -> None:
    assert judge(200, nested(DEEPEST)).outcome is Outcome.SUCCEEDED
    assert judge(200, nested(DEEPEST + 1)).error_code == "body_unreadable"
    quoted = b'"' + b"[" * 9000 + b'\\" {{"'
    assert judge(200, nested(DEEPEST, quoted)).outcome is Outcome.SUCCEEDED, "what is in a string is no level"
    many = user(passkeys=[{"passkey_id": str(number)} for number in range(DEEPEST * 2)])
    assert judge(200, many).outcome is Outcome.SUCCEEDED, "many are not deep"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"ok",
        b'{"status":"ok"}',
        b"\xff\xfe",
        user()[:-1],
        user() + user(),
        b"[" + user() + b"]",
        user(user_id=None),
        user(user_id=7),
        user(emails=None),
        user(emails={}),
        user(emails=[{"id": "mail-7", "verified": "false"}]),
        user(emails=[{"id": "mail-7", "verified": 0}]),
        user().replace(b'"user_id"', b'"uid"'),
        user().replace(b'"emails"', b'"mails"'),
        json.dumps({"title": "Service Unavailable", "status": 503}).encode(),
        DEEP,
    ],
)
def test_any_other_200_is_not_the_tenants_word_and_tried_again(body: bytes) -> None:
    verdict = judge(200, body)
    assert (verdict.decision, verdict.outcome, verdict.foreign) == (Decision.RETRY, Outcome.UNCONFIRMED, True)
    assert (verdict.error_code, verdict.status) == ("body_unreadable", 200)
    assert verdict.error_message


def test_html_with_200_names_the_proxy() -> None:
    answer = Answer(200, {"Content-Type": "text/HTML; charset=utf-8"}, b"<html>Sign in</html>")
    verdict = UNVERIFY_EMAIL.judge(ROW, answer)
    assert (verdict.decision, verdict.outcome) == (Decision.RETRY, Outcome.UNCONFIRMED)
    assert (verdict.error_code, verdict.foreign) == ("body_html", True)
    assert "proxy" in verdict.error_message


@pytest.mark.parametrize(
    ("status", "decision", "outcome"),
    [
        (200, Decision.RETRY, Outcome.UNCONFIRMED),
        (401, Decision.HALT, Outcome.PENDING),
        (402, Decision.HALT, Outcome.PENDING),
        (404, Decision.RETRY, Outcome.UNCONFIRMED),
        (422, Decision.RETRY, Outcome.UNCONFIRMED),
        (429, Decision.THROTTLED, Outcome.EXHAUSTED),
        (503, Decision.RETRY, Outcome.EXHAUSTED),
    ],
)
def test_an_answer_that_broke_off_is_tried_again_like_one_that_never_came(
    status: int, decision: Decision, outcome: Outcome
) -> None:
    verdict = judge(status, b"", Damage.TRUNCATED)
    assert (verdict.decision, verdict.outcome, verdict.foreign) == (decision, outcome, False)


def test_a_user_too_long_to_be_read_is_the_tenants_word() -> None:
    verdict = judge(200, user(), Damage.OVERSIZED)
    assert (verdict.decision, verdict.outcome) == (Decision.FINAL, Outcome.UNCONFIRMED)
    assert (verdict.error_code, verdict.foreign) == ("body_oversized", False)


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("br", "br"),
        ("zstd, gzip", "zstd, gzip"),
        ("x" * 500, "unknown"),
        ("sk-0123456789", "unknown"),
        ("\x1b[2J", "unknown"),
    ],
)
def test_a_compression_that_is_not_read_is_named(encoding: str, named: str) -> None:
    verdict = UNVERIFY_EMAIL.judge(ROW, Answer(200, {"Content-Encoding": encoding}, b"?", Damage.ENCODED))
    assert (verdict.decision, verdict.outcome, verdict.foreign) == (Decision.RETRY, Outcome.UNCONFIRMED, True)
    assert verdict.error_code == "body_encoded"
    assert named in verdict.error_message


ONCE_ONLY = dataclasses.replace(UNVERIFY_EMAIL, idempotent=False)


@pytest.mark.parametrize(
    "reply",
    [
        Answer(200, JSON, b"", Damage.TRUNCATED),
        Answer(200, JSON, b"<html>"),
        Answer(404, JSON, b"<html>"),
        NoAnswer(Trouble.TIMEOUT, "", sent=True),
        NoAnswer(Trouble.DISCONNECTED, "", sent=True),
        NoAnswer(Trouble.DISCONNECTED, "", sent=True, stale=True),
    ],
)
def test_what_must_not_be_done_twice_is_not_tried_again_once_it_may_have_been_done(reply: Reply) -> None:
    assert UNVERIFY_EMAIL.judge(ROW, reply).decision is Decision.RETRY
    verdict = ONCE_ONLY.judge(ROW, reply)
    assert (verdict.decision, verdict.outcome) == (Decision.FINAL, Outcome.UNCONFIRMED)


@pytest.mark.parametrize(
    "reply",
    [Answer(503, JSON, b""), Answer(429, JSON, b""), NoAnswer(Trouble.CONNECT, "", sent=False)],
)
def test_what_must_not_be_done_twice_is_tried_again_where_it_was_not_done(reply: Reply) -> None:
    assert ONCE_ONLY.judge(ROW, reply) == UNVERIFY_EMAIL.judge(ROW, reply)
    assert ONCE_ONLY.judge(ROW, reply).decision is not Decision.FINAL


EVERY_STATUS = {
    **dict.fromkeys([100, 199, 201, 202, 204, 206, 299], (Decision.FINAL, Outcome.UNCONFIRMED, False)),
    **dict.fromkeys([300, 301, 302, 303, 304, 307, 308, 401, 402], (Decision.HALT, Outcome.PENDING, False)),
    **dict.fromkeys(
        [400, 403, 404, 405, 407, 409, 410, 413, 422, 451, 499], (Decision.RETRY, Outcome.UNCONFIRMED, True)
    ),
    429: (Decision.THROTTLED, Outcome.EXHAUSTED, False),
    **dict.fromkeys(
        [408, 425, 500, 502, 503, 504, 520, 599, 999], (Decision.RETRY, Outcome.EXHAUSTED, False)
    ),
}
NOBODYS = [
    b"",
    b"<html>404 page not found</html>",
    b"no",
    b"null",
    b"[]",
    b'{"message":"Forbidden"}',
    user(),
    DEEP,
]


@pytest.mark.parametrize("status", EVERY_STATUS)
@pytest.mark.parametrize("body", NOBODYS)
def test_the_table_of_statuses_where_the_api_itself_does_not_say_it(status: int, body: bytes) -> None:
    # A body that shows success makes none of another status.
    verdict = judge(status, body)
    assert (verdict.decision, verdict.outcome, verdict.foreign) == EVERY_STATUS[status]
    assert verdict.status == status
    assert verdict.error_code
    assert verdict.error_message
    assert verdict.verified_contacts_left is None


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://login.example/realms/x?key=1#y", "points to login.example"),
        ("https://user:secret@Login.example:8443/", "points to Login.example:8443"),
        ("//login.example/in", "points to login.example"),
        ("/api/users", "points to another path of the same host"),
        ("?page=2", "points to another path of the same host"),
        ("https://[::1", "points to no address that can be read"),
        ("https://log\x1bin.example/", "points to log in.example"),
        ("", "names no other address"),
    ],
)
def test_a_redirect_says_to_which_host_it_leads_and_no_more(location: str, said: str) -> None:
    verdict = UNVERIFY_EMAIL.judge(ROW, Answer(302, {"Location": location}, b"<html>Moved</html>"))
    assert (verdict.decision, verdict.error_code, verdict.error_message) == (Decision.HALT, "http_302", said)


@pytest.mark.parametrize("status", EVERY_STATUS)
def test_the_table_of_statuses_where_the_api_itself_says_it(status: int) -> None:
    verdict = judge(status, json.dumps({"title": "No", "status": status}).encode())
    expected = EVERY_STATUS[status]
    if expected[2]:
        outcome = Outcome.NOT_FOUND if status == 404 else Outcome.REFUSED
        expected = (Decision.FINAL, outcome, False)
    assert (verdict.decision, verdict.outcome, verdict.foreign) == expected


ANY = st.none() | st.booleans() | st.integers(0, 999) | st.text(max_size=5) | st.just([]) | st.just({})
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "title": ANY,
        "type": ANY,
        "status": ANY | st.sampled_from([404, 403]),
        "detail": ANY,
        "x": ANY,
    },
)


@given(
    st.sampled_from([400, 403, 404, 405, 409, 410, 422]), DOCUMENTS | ANY | st.lists(DOCUMENTS, max_size=2)
)
def test_a_refusal_is_the_apis_own_if_its_document_says_so(status: int, document: Any) -> None:
    says = isinstance(document, dict) and any(
        isinstance(document.get(name), str) for name in ("title", "type")
    )
    told = document.get("status") if says else None
    own = says and (told is None or told in (status, str(status)))
    verdict = judge(status, json.dumps(document).encode())
    assert verdict.foreign is not own
    assert verdict.decision is (Decision.FINAL if own else Decision.RETRY)
    assert (verdict.outcome is Outcome.UNCONFIRMED) is not own


@given(
    st.fixed_dictionaries(
        {}, optional={"user_id": ANY | st.just("user-7"), "emails": ANY | st.lists(ANY, max_size=2)}
    )
)
def test_a_200_is_the_tenants_word_if_it_has_a_users_id_and_emails(document: dict[str, Any]) -> None:
    emails = document.get("emails")
    own = isinstance(document.get("user_id"), str) and isinstance(emails, list)
    own = own and all(isinstance(email, dict) for email in emails)
    verdict = judge(200, json.dumps(document).encode())
    assert verdict.foreign is not own
    assert verdict.decision is (Decision.FINAL if own else Decision.RETRY)


@pytest.mark.parametrize("trouble", Trouble)
@pytest.mark.parametrize("sent", [True, False])
def test_no_answer_is_tried_again_and_once_sent_it_may_have_worked(trouble: Trouble, sent: bool) -> None:
    verdict = UNVERIFY_EMAIL.judge(ROW, NoAnswer(trouble, "it\nbroke", sent))
    expected = Outcome.UNCONFIRMED if sent else Outcome.EXHAUSTED
    assert verdict == Verdict(Decision.RETRY, expected, None, trouble.value, "it broke")


@pytest.mark.parametrize(
    ("problem", "code", "message"),
    [
        ({"title": "Not Found", "detail": "No such user."}, "http_422", "Not Found; No such user."),
        ({"title": "Not Found", "detail": None, "instance": None}, "http_422", "Not Found"),
        ({"type": "about:blank", "title": 5, "detail": ["x"]}, "http_422", "answered 422"),
        (
            {
                "type": "https://httpstatuses.io/422#identity-validation-error",
                "title": "Invalid",
                "errors": [
                    {"code": "EmailTaken", "description": "The e-mail is taken."},
                    {"code": "Locked", "description": "The user is locked."},
                ],
            },
            "EmailTaken,Locked",
            "Invalid; The e-mail is taken.; The user is locked.",
        ),
        (
            {
                "type": "https://httpstatuses.io/422#validation-error",
                "title": "Invalid",
                "errors": {"Name": ["is long", "is odd"], "Id": ["is empty"]},
            },
            "Id,Name",
            "Invalid; Name: is long, is odd; Id: is empty",
        ),
        ({"title": "Odd", "errors": ["one", 2, None, {"code": 7}]}, "7", "Odd; one; 2"),
        ({"title": "Odd", "errors": {"a": {"b": 1}}}, "a", "Odd; a: {'b': 1}"),
        ({"title": "Odd", "errors": "text"}, "http_422", "Odd"),
    ],
)
def test_a_problems_details_are_kept(problem: dict[str, object], code: str, message: str) -> None:
    answer = Answer(422, PROBLEM, json.dumps(problem).encode())
    verdict = UNVERIFY_EMAIL.judge(ROW, answer)
    assert (verdict.error_code, verdict.error_message) == (code, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "answered 503 with an empty body"),
        (b" \r\n\x00 ", "answered 503 with an empty body"),
        (b"no\r\n\tway\x1b[31m\x00", "no way [31m"),
        ("a\u202eb\u2028c".encode(), "a b c"),
        (b"\xff\xfe!", "\ufffd\ufffd!"),
        (b"[1, 2]", "[1, 2]"),
        (b"x" * 5000, "x" * 299 + "…"),
        (json.dumps({"title": "t\u0000\n\u0007u"}).encode(), "t u"),
        (json.dumps({"title": "y" * 5000}).encode(), "y" * 299 + "…"),
    ],
)
def test_a_message_is_one_short_line(body: bytes, message: str) -> None:
    assert judge(503, body).error_message == message


HUGE_NUMBER = b"9" * 6000
NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PROBLEMS = st.fixed_dictionaries(
    {}, optional={"title": NESTED, "detail": NESTED, "errors": NESTED, "type": NESTED, "emails": NESTED}
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda document: json.dumps(document).encode(), NESTED | PROBLEMS),
    st.sampled_from(
        [
            DEEP,
            b'{"errors":' + b"[" * 50_000,
            b'{"errors":[{"code":' + HUGE_NUMBER + b"}]}",
            b'{"errors":{"a":[' + HUGE_NUMBER + b"]}}",
            b'{"errors":{"a":{"b":' + HUGE_NUMBER + b"}}}",
            b'{"emails":[{"id":' + HUGE_NUMBER + b"}]}",
            b'{"title":"\\ud800"}',
            b'{"title":NaN,"errors":[Infinity]}',
            b'{"title":"' + b"a" * 1_000_000 + b'"}',
        ]
    ),
)
ANSWERS = st.builds(
    Answer,
    st.integers(100, 999),
    st.dictionaries(st.sampled_from(["Content-Type", "X"]), st.text(max_size=20)),
    BODIES,
    st.sampled_from(Damage),
)
NO_ANSWERS = st.builds(NoAnswer, st.sampled_from(Trouble), st.text(), st.booleans())


@given(ANSWERS | NO_ANSWERS)
def test_judging_never_raises_and_never_tells_more_than_one_line(reply: Answer | NoAnswer) -> None:
    for operation in (UNVERIFY_EMAIL, VERIFY_EMAIL):
        verdict = operation.judge(ROW, reply)
        assert len(verdict.error_message) <= 300
        assert len(verdict.error_code) <= 80
        told = verdict.error_code + verdict.error_message
        assert all(char.isprintable() or char == " " or ord(char) > 127 for char in told)
        assert len(told.splitlines()) <= 1
        assert verdict.outcome is not Outcome.SUCCEEDED
        told.encode()
