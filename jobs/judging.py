"""What a reply means for its row: one table for every operation.

Source: the MonoCloud Management API's errors, and the outcomes of the project's design.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from pydantic import BaseModel, BeforeValidator, ValidationError

from worker.model import Answer, Damage, Decision, NoAnswer, Outcome, Reply, Verdict

_LONGEST_MESSAGE: Final = 300
_LONGEST_CODE: Final = 80
_LOOKED_AT: Final = 2_000
"""Characters of a text that are looked at: cleaning a megabyte would hold everybody else up."""

_MOST_DETAILS: Final = 20

_OK: Final = 200
_TOO_MANY: Final = 429
_WRONG_RUN: Final = frozenset({401, 402})
_WHOEVER_SAYS_IT: Final = _WRONG_RUN | {408, 425, _TOO_MANY}
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_DAMAGED: Final[Mapping[Damage, str]] = MappingProxyType(
    {
        Damage.TRUNCATED: "the answer broke off",
        Damage.OVERSIZED: "the answer's body is longer than any user's",
    }
)
_ENCODINGS: Final = frozenset(
    {"br", "zstd", "compress", "gzip", "deflate", "x-gzip", "x-compress", "dcb", "dcz", "xz"}
)
"""Names of compressions that are told; anything else in the header is nobody's business."""


def _text(value: object) -> str | None:
    """Return a problem's text; a value of another type counts as missing (RFC 9457, section 3.1)."""
    return value if isinstance(value, str) else None


_Text = Annotated[str | None, BeforeValidator(_text)]


class _Problem(BaseModel):
    """What is read of a problem document (RFC 9457); anything else in it is left alone."""

    type: _Text = None
    title: _Text = None
    status: object = None
    detail: _Text = None
    errors: object = None

    def is_own(self, status: int) -> bool:
        """Return whether the API itself answered `status` with this (promise 12)."""
        if self.title is None and self.type is None:
            return False
        return self.status in (None, status, str(status))


def judge_unshown(reply: Reply, *, idempotent: bool) -> Verdict:
    """Return what a reply means that is not the tenant's 200.

    An attempt that may have been carried out is made again only where it does not matter if it was.
    """
    verdict = _judge_no_answer(reply) if isinstance(reply, NoAnswer) else _judge_answer(reply)
    if idempotent or verdict.decision is not Decision.RETRY or verdict.outcome is not Outcome.UNCONFIRMED:
        return verdict
    return msgspec.structs.replace(verdict, decision=Decision.FINAL)


def is_foreign(answer: Answer) -> bool:
    """Return whether a 4xx is not the API's own, of a status by which that is told (promise 12)."""
    if not _CLIENT_ERROR <= answer.status < _SERVER_ERROR or answer.status in _WHOEVER_SAYS_IT:
        return False
    problem = _read(answer.body)
    return problem is None or not problem.is_own(answer.status)


def unconfirmed(answer: Answer, code: str, message: str) -> Verdict:
    """Return that the tenant's own word does not show that it was done: asking again would not change it."""
    return Verdict(Decision.FINAL, Outcome.UNCONFIRMED, answer.status, code, one_line(message))


def _judge_no_answer(reply: NoAnswer) -> Verdict:
    """Return what it means that no answer came: try again; once sent, it may have been done."""
    outcome = Outcome.UNCONFIRMED if reply.sent else Outcome.EXHAUSTED
    return Verdict(Decision.RETRY, outcome, None, reply.trouble.value, one_line(reply.detail))


def _judge_answer(answer: Answer) -> Verdict:
    status = answer.status
    if 300 <= status < 400:  # noqa: PLR2004 - a redirect
        message = _leads(answer)
        return Verdict(Decision.HALT, Outcome.PENDING, status, f"http_{status}", message)
    if status in _WHOEVER_SAYS_IT or status >= _SERVER_ERROR:
        return _judge_whoever_said_it(answer)
    if status == _OK:
        return _judge_ok(answer)
    if status >= _CLIENT_ERROR:
        return _judge_refusal(answer)
    return unconfirmed(answer, "unexpected_status", f"answered {status}, which shows nothing")


def _judge_ok(answer: Answer) -> Verdict:
    """Judge a 200 that is not the tenant's word, but for one that is too long to be read."""
    code, message = _describe_unreadable(answer)
    if answer.damage is Damage.OVERSIZED:
        return unconfirmed(answer, code, message)
    return _may_have_been_done(answer, code, message, foreign=answer.damage is not Damage.TRUNCATED)


def _judge_whoever_said_it(answer: Answer) -> Verdict:
    """Judge a status that means the same whether the API or something in front of it gave it."""
    status, (code, message) = answer.status, _explain(answer, _read(answer.body))
    if status in _WRONG_RUN:
        return Verdict(Decision.HALT, Outcome.PENDING, status, code, message)
    decision = Decision.THROTTLED if status == _TOO_MANY else Decision.RETRY
    return Verdict(decision, Outcome.EXHAUSTED, status, code, message)


def _judge_refusal(answer: Answer) -> Verdict:
    """Judge a 4xx: final if it is the API's own, else of something in front, which knows nothing of rows."""
    if answer.damage is Damage.TRUNCATED:
        return _may_have_been_done(answer, *_describe_unreadable(answer))
    status, problem = answer.status, _read(answer.body)
    if problem is None or not problem.is_own(status):
        message = f"not the API's own answer: {_as_text(answer)}"
        return _may_have_been_done(answer, f"http_{status}", message, foreign=True)
    outcome = Outcome.NOT_FOUND if status == 404 else Outcome.REFUSED  # noqa: PLR2004 - Not Found
    return Verdict(Decision.FINAL, outcome, status, *_explain(answer, problem))


def _may_have_been_done(answer: Answer, code: str, message: str, *, foreign: bool = False) -> Verdict:
    return Verdict(
        Decision.RETRY, Outcome.UNCONFIRMED, answer.status, code, one_line(message), foreign=foreign
    )


def _describe_unreadable(answer: Answer) -> tuple[str, str]:
    """Return code and message for an answer whose body is not the document that it should be."""
    if answer.damage is Damage.ENCODED:
        return (
            "body_encoded",
            f"the answer's body is compressed, which was not asked for: {_encoding(answer)}",
        )
    if answer.damage is not Damage.NONE:
        return f"body_{answer.damage}", _DAMAGED[answer.damage]
    if "html" in answer.headers.get("Content-Type", "").lower():
        return "body_html", "an HTML page came back, probably from a proxy"
    return "body_unreadable", "the answer's body is not a user document"


def _encoding(answer: Answer) -> str:
    """Return what an answer's body is compressed with, as far as the header names what is known."""
    named = [name.strip().lower() for name in answer.headers.get("Content-Encoding", "").split(",")]
    known = [name for name in named if name in _ENCODINGS]
    return ", ".join(known[:_MOST_DETAILS]) or "in an unknown way"


def _leads(answer: Answer) -> str:
    """Return where a redirect points to, by its host alone: path and query may hold what is nobody's business."""
    address = answer.headers.get("Location", "").strip()
    if not address:
        return "names no other address"
    try:
        host = urlsplit(address).netloc.rpartition("@")[2]
    except ValueError:
        return "points to no address that can be read"
    return f"points to {one_line(host)}" if host else "points to another path of the same host"


def one_line(text: str) -> str:
    """Return `text` in one line of at most 300 characters, without control characters."""
    looked_at = text[:_LOOKED_AT]
    printable = "".join(" " if unicodedata.category(char)[0] == "C" else char for char in looked_at)
    line = " ".join(printable.split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def _read(body: bytes) -> _Problem | None:
    try:
        return _Problem.model_validate_json(body)
    except ValidationError:
        return None


def _as_text(answer: Answer) -> str:
    text = one_line(answer.body[:_LOOKED_AT].decode("utf-8", "replace"))
    return text or f"answered {answer.status} with an empty body"


def _explain(answer: Answer, problem: _Problem | None) -> tuple[str, str]:
    """Return a short code and a sentence for an answer that is no success."""
    fallback = f"http_{answer.status}"
    if problem is None:
        return fallback, _as_text(answer)
    codes, messages = _details(problem.errors)
    code = one_line(",".join(codes))[:_LONGEST_CODE] or fallback
    said = "; ".join(filter(None, [problem.title, problem.detail, *messages]))
    return code, one_line(said) or f"answered {answer.status}"


def _details(errors: object) -> tuple[list[str], list[str]]:
    """Return the codes and messages of a problem's `errors`, in whichever form they come, or nothing."""
    if isinstance(errors, dict):
        fields = list(errors.items())[:_MOST_DETAILS]
        return sorted(field for field, _ in fields), [f"{field}: {_shown(told)}" for field, told in fields]
    if not isinstance(errors, list):
        return [], []
    entries = [
        entry if isinstance(entry, dict) else {"description": entry} for entry in errors[:_MOST_DETAILS]
    ]
    codes = [_shown(entry["code"]) for entry in entries if entry.get("code")]
    return codes, [_shown(entry["description"]) for entry in entries if entry.get("description")]


def _shown(told: object) -> str:
    """Return what a problem says as text; its numbers may be longer than Python is willing to write."""
    if isinstance(told, list):
        return ", ".join(_shown(each) for each in told[:_MOST_DETAILS])
    try:
        return str(told)
    except ValueError:
        return "a number"
