"""What a reply means for its row."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.emails import UNVERIFY_EMAIL, VERIFY_EMAIL
from worker.model import Answer, Damage, Decision, NoAnswer, Outcome, Row, Trouble, Verdict
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


@pytest.mark.parametrize("user_id", ["user-7", None])
def test_the_users_own_document_is_a_success_and_so_is_one_that_names_no_user(user_id: str | None) -> None:
    assert judge(200, user(user_id=user_id)).outcome is Outcome.SUCCEEDED
    assert judge(200, user().replace(b'"user_id"', b'"uid"')).outcome is Outcome.SUCCEEDED


def test_an_odd_neighbour_does_not_hide_the_success() -> None:
    emails = [{"id": None, "verified": None}, {}, contact("mail-7", verified=False)]
    assert judge(200, user(emails=emails)).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (user(emails=[contact("another", verified=False)]), "identifier_missing"),
        (user(emails=[]), "identifier_missing"),
        (user(emails=None), "identifier_missing"),
        (user(emails=[], phone_numbers=[contact("mail-7", verified=False)]), "identifier_missing"),
        (b"{}", "identifier_missing"),
        (user(emails=[contact("mail-7", verified=True)]), "not_changed"),
        (user(emails=[contact("mail-7", verified=None)]), "not_changed"),
        (user(emails=[{"id": "mail-7"}]), "not_changed"),
        (user(user_id="user-8"), "another_user"),
        (user(user_id="USER-7"), "another_user"),
        (user(user_id=""), "another_user"),
        (user(user_id="user-8", emails=[]), "another_user"),
        (user(user_id=7), "body_unreadable"),
        (
            user(emails=[contact("mail-7", verified=False), contact("mail-7", verified=True)]),
            "not_changed",
        ),
        (user(emails=[{"id": "mail-7", "verified": "false"}]), "body_unreadable"),
        (user(emails=[{"id": "mail-7", "verified": 0}]), "body_unreadable"),
        (b"", "body_unreadable"),
        (b"null", "body_unreadable"),
        (b"[]", "body_unreadable"),
        (b"\xff\xfe", "body_unreadable"),
        (user()[:-1], "body_unreadable"),
        (user() + user(), "body_unreadable"),
        (DEEP, "body_unreadable"),
    ],
)
def test_a_200_that_does_not_show_it_is_unconfirmed(body: bytes, code: str) -> None:
    verdict = judge(200, body)
    assert (verdict.decision, verdict.outcome) == (Decision.FINAL, Outcome.UNCONFIRMED)
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


def test_html_with_200_names_the_proxy() -> None:
    answer = Answer(200, {"Content-Type": "text/HTML; charset=utf-8"}, b"<html>Sign in</html>")
    verdict = UNVERIFY_EMAIL.judge(ROW, answer)
    assert (verdict.outcome, verdict.error_code) == (Outcome.UNCONFIRMED, "body_html")
    assert "proxy" in verdict.error_message


@pytest.mark.parametrize(
    ("status", "decision"),
    [(401, Decision.HALT), (404, Decision.FINAL), (429, Decision.THROTTLED), (503, Decision.RETRY)],
)
def test_a_status_counts_though_its_body_never_came(status: int, decision: Decision) -> None:
    assert judge(status, b"", Damage.TRUNCATED).decision is decision


@pytest.mark.parametrize("damage", [Damage.OVERSIZED, Damage.TRUNCATED, Damage.ENCODED])
def test_a_damaged_200_is_unconfirmed_even_if_what_came_looks_right(damage: Damage) -> None:
    verdict = judge(200, user(), damage)
    assert (verdict.decision, verdict.outcome) == (Decision.FINAL, Outcome.UNCONFIRMED)
    assert verdict.error_code == f"body_{damage.value}"


EVERY_STATUS = {
    **dict.fromkeys([100, 199, 201, 202, 204, 206, 299], (Decision.FINAL, Outcome.UNCONFIRMED)),
    **dict.fromkeys([300, 301, 302, 303, 304, 307, 308, 401, 402], (Decision.HALT, Outcome.PENDING)),
    **dict.fromkeys([400, 403, 405, 409, 410, 413, 422, 451, 499], (Decision.FINAL, Outcome.REFUSED)),
    404: (Decision.FINAL, Outcome.NOT_FOUND),
    429: (Decision.THROTTLED, Outcome.EXHAUSTED),
    **dict.fromkeys([408, 425, 500, 502, 503, 504, 520, 599, 999], (Decision.RETRY, Outcome.EXHAUSTED)),
}


@pytest.mark.parametrize("status", EVERY_STATUS)
def test_the_table_of_statuses(status: int) -> None:
    # A body that shows success makes none of another status.
    verdict = judge(status, user())
    assert (verdict.decision, verdict.outcome) == EVERY_STATUS[status]
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


@pytest.mark.parametrize("trouble", Trouble)
@pytest.mark.parametrize("sent", [True, False])
def test_no_answer_is_tried_again_and_only_a_timeout_after_sending_may_have_worked(
    trouble: Trouble, sent: bool
) -> None:
    verdict = UNVERIFY_EMAIL.judge(ROW, NoAnswer(trouble, "it\nbroke", sent))
    expected = Outcome.UNCONFIRMED if trouble is Trouble.TIMEOUT and sent else Outcome.EXHAUSTED
    assert verdict == Verdict(Decision.RETRY, expected, None, trouble.value, "it broke")


@pytest.mark.parametrize(
    ("problem", "code", "message"),
    [
        ({"title": "Not Found", "detail": "No such user."}, "http_422", "Not Found; No such user."),
        ({"title": "Not Found", "detail": None, "instance": None}, "http_422", "Not Found"),
        ({"title": 5, "detail": ["x"]}, "http_422", "answered 422"),
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
        (b"", "answered 400 with an empty body"),
        (b" \r\n\x00 ", "answered 400 with an empty body"),
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
    assert judge(400, body).error_message == message


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
