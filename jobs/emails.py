"""Marking a user's e-mail as unverified, and its inverse."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from jobs.judging import judge_unshown, unconfirmed
from worker.identifiers import canonical, is_canonical
from worker.model import ANOTHER_USER, Answer, Call, Decision, Outcome, Reply, Row, Verdict
from worker.nesting import is_too_deep

_PLAIN: Final = re.compile(r"[A-Za-z0-9_\-]+").fullmatch
_DOT_SEGMENTS: Final = (".", "..")
_OK: Final = 200
_FINAL: Final = Decision.FINAL
_SUCCEEDED: Final = Outcome.SUCCEEDED


class _Contact(msgspec.Struct, gc=False):
    """An e-mail or a phone number of a user document."""

    id: str | None = None
    verified: bool | None = None


class _User(msgspec.Struct):
    """What is read of a user document, and no more: this is the hot path.

    A 200 that does not decode as this, with a user's id and e-mails, is not the tenant's word (promise 12).
    """

    user_id: str
    emails: list[_Contact]
    phone_numbers: list[_Contact] | None = None
    passkeys: list[msgspec.Raw] | None = None
    external_providers: list[msgspec.Raw] | None = None
    has_password: bool | None = None


_decode: Final = msgspec.json.Decoder(_User).decode


@dataclasses.dataclass(frozen=True, slots=True)
class EmailVerification:
    """Sets whether a user's e-mail counts as verified. Implements `worker.ports.Operation`.

    Attributes:
        name: The operation's name.
        verb: The path's last segment.
        verified: What the reply must show of this e-mail for the row to have succeeded.
        idempotent: Always: it does not matter whether an e-mail is marked once or twice.

    A success tells how many verified e-mails and phone numbers the user still has, and `lockout_risk`:
    true where none is left and the document shows no passkey, no external provider and no password either,
    that is, nothing to sign in or to recover the account with.

    Source: `POST /users/{user_id}/emails/{identifier_id}/unverify` and `/verify`; the reply is the
    whole user.
    """

    name: str
    verb: str
    verified: bool
    idempotent: bool = True

    def call(self, row: Row) -> Call:
        """Return the request for `row`; ids are encoded as whole path segments, whatever they hold.

        An identifier that is a GUID goes in small letters with dashes, however it is written.
        """
        id_ = row.identifier_id
        identifier = id_ if is_canonical(id_) else _segment(canonical(id_))
        path = f"users/{_segment(row.user_id)}/emails/{identifier}/{self.verb}"
        return Call("POST", path, traceparent=row.traceparent)

    def judge(self, row: Row, reply: Reply) -> Verdict:
        """Return what `reply` means: a success only where the user document shows it."""
        if not isinstance(reply, Answer) or reply.status != _OK or reply.damage:
            return judge_unshown(reply, idempotent=self.idempotent)
        user = _read(reply.body)
        if user is None:
            return judge_unshown(reply, idempotent=self.idempotent)
        return self._judge_user(row, reply, user)

    def _judge_user(self, row: Row, answer: Answer, user: _User) -> Verdict:
        if user.user_id != row.user_id:
            return unconfirmed(answer, ANOTHER_USER, "the user document is that of another user")
        shown: list[bool | None] = []
        left = 0
        for email in user.emails:
            left += email.verified is True
            if email.id == row.identifier_id:
                shown.append(email.verified)
        if not shown:
            shown = _shown_as_guid(row.identifier_id, user.emails or [])
        if not shown:
            return unconfirmed(
                answer, "identifier_missing", "the user document does not hold this identifier"
            )
        if shown != [self.verified] * len(shown):
            words = {True: "verified", False: "unverified", None: "neither verified nor unverified"}
            told = " and as ".join(words[verified] for verified in dict.fromkeys(shown))
            return unconfirmed(answer, "not_changed", f"the user document shows the e-mail as {told}")
        for phone in user.phone_numbers or ():
            left += phone.verified is True
        return Verdict(
            _FINAL,
            _SUCCEEDED,
            _OK,
            verified_contacts_left=left,
            lockout_risk=not (left or user.passkeys or user.external_providers or user.has_password),
        )


def _read(body: bytes) -> _User | None:
    """Return the user that a document shows, or None if it shows none."""
    if is_too_deep(body):
        return None
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _shown_as_guid(identifier_id: str, emails: Sequence[_Contact]) -> list[bool | None]:
    """Return what is shown of an identifier that the row or the reply spells in another way."""
    wanted = canonical(identifier_id)
    return [email.verified for email in emails if email.id is not None and canonical(email.id) == wanted]


def _segment(id_: str) -> str:
    """Return `id_` as one path segment, as JavaScript's `encodeURIComponent` would, dot segments aside.

    That leaves `.` and `..` as they are, and RFC 3986 (5.2.4) has everything on the way resolve them.
    """
    if _PLAIN(id_):
        return id_
    if id_ in _DOT_SEGMENTS:
        return id_.replace(".", "%2E")
    return quote(id_, safe="", errors="surrogatepass")


UNVERIFY_EMAIL: Final = EmailVerification("unverify-email", "unverify", verified=False)
VERIFY_EMAIL: Final = EmailVerification("verify-email", "verify", verified=True)
