"""Which answers are suspicious, and what they mean for the whole run if there is nothing else. Pure."""

from __future__ import annotations

import dataclasses
from typing import Final

from worker.model import Decision, Outcome, Verdict

_FINAL: Final = Decision.FINAL
_EXCLUDED: Final = Outcome.EXCLUDED
_NOT_FOUND: Final = Outcome.NOT_FOUND
_FORBIDDEN_STATUS: Final = 403
_ADVICE: Final = {
    401: "the key is missing, wrong, revoked, or of another tenant. Check it with `bulk-unverify doctor`",
    402: "the tenant's plan lacks this feature. Ask the tenant's owner",
}
_REDIRECT: Final = "a redirect is never followed, so the key goes nowhere else. Check the tenant's domain"


@dataclasses.dataclass(frozen=True, slots=True)
class Suspicion:
    """A kind of answer that, if there is nothing else, means that the whole run is wrong."""

    label: str
    advice: str
    outcome: Outcome
    status: int | None = None


_FORBIDDEN: Final = Suspicion(
    "403",
    "The key may not do this, or no longer, or something refuses by 403 at this pace. Check the key with"
    " `bulk-unverify doctor`; where a limiter or a firewall refuses, go on with a lower --rate; if these rows may"
    " count as refused, go on with --accept refused",
    Outcome.REFUSED,
    _FORBIDDEN_STATUS,
)
UNKNOWN: Final = Suspicion(
    "404",
    "Probably the wrong tenant, or a file of another tenant. Check both; if these users are gone, go on with"
    " --accept not_found",
    _NOT_FOUND,
    404,
)
_UNCONFIRMED: Final = Suspicion(
    "unconfirmed",
    "The tenant answers and does not show the change. Look at one of these users in the tenant's console, and at"
    " --operation; if these rows may stay unconfirmed, go on with --accept unconfirmed",
    Outcome.UNCONFIRMED,
)


def suspect(verdict: Verdict) -> Outcome | None:
    """Return the outcome by which an answer is suspicious if there is nothing else, or None."""
    suspicion = suspicion_of(verdict)
    return None if suspicion is None else suspicion.outcome


def counts(verdict: Verdict) -> bool:
    """Return whether this is an answer that a streak is made of, or broken by: only the API's own final one.

    5xx, 408, 425, 429, what broke off, what never came and what is not the API's own do neither.
    """
    return verdict.decision is _FINAL and verdict.outcome is not _EXCLUDED


def suspicion_of(verdict: Verdict) -> Suspicion | None:
    """Return what makes an answer suspicious if there is nothing else, or None."""
    if not counts(verdict):
        return None
    if verdict.outcome is Outcome.UNCONFIRMED:
        return _UNCONFIRMED
    if verdict.outcome is _NOT_FOUND:
        return UNKNOWN
    return _FORBIDDEN if verdict.status == _FORBIDDEN_STATUS else None


def explain(verdict: Verdict) -> str:
    """Return why an answer stops a run at once, and what to do."""
    status, message = verdict.status or 0, verdict.error_message.rstrip(" .")
    advice = _ADVICE.get(status)
    if advice is None:
        return f"the tenant answered {status}, which {message}: {_REDIRECT}"
    said = f". It said: {verdict.error_code} {message}" if message else ""
    return f"the tenant answered {status}: {advice}{said}"
