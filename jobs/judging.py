"""What a reply means for its row: one table for every operation.

Source: the MonoCloud Management API's errors, and the outcomes of the project's design.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ValidationError

from worker.model import Answer, Damage, Decision, NoAnswer, Outcome, Trouble, Verdict

_LONGEST_MESSAGE: Final = 300
_LONGEST_CODE: Final = 80
_LOOKED_AT: Final = 2_000
"""Characters of a text that are looked at: cleaning a megabyte would hold everybody else up."""

_MOST_DETAILS: Final = 20

_RETRIED: Final = frozenset({408, 425})
_WRONG_RUN: Final = frozenset({401, 402})
_SERVER_ERROR: Final = 500


def _text(value: object) -> str:
    """Return a problem's text; what is no text is as good as missing."""
    return value if isinstance(value, str) else ""


class _Problem(BaseModel):
    """What is read of a problem document (RFC 9457); anything else in it is left alone."""

    title: Annotated[str, BeforeValidator(_text)] = ""
    detail: Annotated[str, BeforeValidator(_text)] = ""
    errors: object = None


def judge_no_answer(reply: NoAnswer) -> Verdict:
    """Return what it means that no answer came: try again; a time-out may have done it (`unconfirmed`)."""
    timed_out_after_sending = reply.trouble is Trouble.TIMEOUT and reply.sent
    outcome = Outcome.UNCONFIRMED if timed_out_after_sending else Outcome.EXHAUSTED
    return Verdict(Decision.RETRY, outcome, None, reply.trouble.value, one_line(reply.detail))


def judge_status(answer: Answer) -> Verdict:
    """Return what an answer other than 200 means."""
    status = answer.status
    code, message = _explain(answer)
    if status == 429:  # noqa: PLR2004 - Too Many Requests
        return Verdict(Decision.THROTTLED, Outcome.EXHAUSTED, status, code, message)
    if status in _RETRIED or status >= _SERVER_ERROR:
        return Verdict(Decision.RETRY, Outcome.EXHAUSTED, status, code, message)
    if status in _WRONG_RUN or 300 <= status < 400:  # noqa: PLR2004 - a redirect
        return Verdict(Decision.HALT, Outcome.PENDING, status, code, message)
    if status == 404:  # noqa: PLR2004 - Not Found
        return Verdict(Decision.FINAL, Outcome.NOT_FOUND, status, code, message)
    if 400 <= status < _SERVER_ERROR:  # noqa: PLR2004 - the client's fault
        return Verdict(Decision.FINAL, Outcome.REFUSED, status, code, message)
    return unconfirmed(answer, "unexpected_status", f"answered {status}, which shows nothing")


def unconfirmed(answer: Answer, code: str, message: str) -> Verdict:
    """Return that nothing shows whether it was done."""
    return Verdict(Decision.FINAL, Outcome.UNCONFIRMED, answer.status, code, one_line(message))


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


def describe_unreadable(answer: Answer) -> tuple[str, str]:
    """Return code and message for a 200 whose body is not the document that it should be."""
    if answer.damage is not Damage.NONE:
        return f"body_{answer.damage}", f"the answer's body is {answer.damage}"
    if "html" in answer.headers.get("Content-Type", "").lower():
        return "body_html", "an HTML page came back, probably from a proxy"
    return "body_unreadable", "the answer's body is not a user document"


def one_line(text: str) -> str:
    """Return `text` in one line of at most 300 characters, without control characters."""
    looked_at = text[:_LOOKED_AT]
    printable = "".join(" " if unicodedata.category(char)[0] == "C" else char for char in looked_at)
    line = " ".join(printable.split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def _explain(answer: Answer) -> tuple[str, str]:
    """Return a short code and a sentence for an answer that is no success."""
    fallback = f"http_{answer.status}"
    if 300 <= answer.status < 400:  # noqa: PLR2004 - a redirect
        return fallback, _leads(answer)
    try:
        problem = _Problem.model_validate_json(answer.body)
    except ValidationError:
        text = answer.body[:_LOOKED_AT].decode("utf-8", "replace")
        return fallback, one_line(text) or f"answered {answer.status} with an empty body"
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
