"""The tenant's users: everything about one follows from the seed and the user's index, nothing is stored."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, NamedTuple

_CORE_LENGTH: Final = 21
_CODE_BITS: Final = 40
_CODE_BYTES: Final = 5
_CODE_MASK: Final = (1 << _CODE_BITS) - 1
_MULTIPLIER: Final = 0x9E3779B97F
"""Odd, so multiplying by it modulo 2**40 can be undone."""
_UNDO: Final = pow(_MULTIPLIER, -1, 1 << _CODE_BITS)
_ODD_EVERY: Final = 61
_ODD_FORMS: Final = (
    ("auth0|", ""),
    ("team/", ""),
    ("", " (old)"),
    ("-", ""),
    ("../", ""),
    ("用户-", ""),
    ("%2F", ""),
    ("", "?x=1#y"),
    ("Größe+", ""),
    ("=", ""),
    ("a;b,c\"d'", ""),
)
"""What stands before and after the usual id of the few users that prove path encoding."""

_FIRST: Final = ("ana", "ben", "chloe", "dmitri", "emeka", "fatima", "goran", "hana")
_LAST: Final = ("silva", "okafor", "meyer", "rossi", "tanaka", "novak", "haddad", "lind")
_DOMAINS: Final = ("acme.example", "contoso.example", "mail.example", "beispiel.example", "tenant.example")


class Person(NamedTuple):
    """One generated user.

    Attributes:
        place: Position among the tenant's users, from 0, in order of creation.
        user_id: 21 characters as the real ones, or an odd form of them.
        username: The user name; unique.
        email_ids: The primary e-mail's id and, for half of the users, a second one's.
        phone_id: The phone's id; empty for those without a phone.
        username_id: The user name's id.
        traits: Six bytes that everything else about the user is derived from.
    """

    place: int
    user_id: str
    username: str
    email_ids: tuple[str, ...]
    phone_id: str
    username_id: str
    traits: bytes

    @property
    def email(self) -> str:
        """The primary e-mail's address."""
        return f"{self.username}@{_DOMAINS[self.traits[1] % len(_DOMAINS)]}"

    @property
    def second_email(self) -> str:
        """The second e-mail's address, for those who have one."""
        return f"{self.username}@home.example"

    @property
    def verified_at_first(self) -> int:
        """Which contacts were verified from the start: bits 0 and 1 for the e-mails, 2 for the phone."""
        return self.traits[2] & 0b110 | 1


class People:
    """The users of one tenant.

    Attributes:
        count: How many there are. `person` knows further ones too: well-shaped ids that nobody has.
    """

    def __init__(self, seed: int, count: int) -> None:
        self.count = count
        self._seed = seed
        self._mask = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=_CODE_BYTES).digest())

    def person(self, index: int) -> Person:
        """Return the user at `index`, from 0."""
        digest = hashlib.blake2b(b"%d:%d" % (self._seed, index), digest_size=64).digest()
        code = ((index * _MULTIPLIER & _CODE_MASK) ^ self._mask).to_bytes(_CODE_BYTES)
        # 16 bytes make 22 characters; the last of them holds 2 bits and is left off.
        core = base64.urlsafe_b64encode(code + digest[:11])[:_CORE_LENGTH].decode()
        traits = digest[58:]
        before, after = _form(index)
        text = digest.hex()
        first = _uuid(text[20:52])
        return Person(
            place=index,
            user_id=f"{before}{core}{after}",
            username=f"{_FIRST[traits[0] & 7]}.{_LAST[traits[0] >> 3 & 7]}{index}",
            email_ids=(first, _uuid(text[52:84])) if traits[3] & 1 else (first,),
            phone_id=_uuid(text[84:116]) if traits[3] & 2 else "",
            username_id=_uuid(text[40:72]),
            traits=traits,
        )

    def find(self, user_id: str) -> Person | None:
        """Return the user who has `user_id`, or None."""
        for core in _cores(user_id):
            index = self._index(core)
            if index is not None and index < self.count:
                person = self.person(index)
                if person.user_id == user_id:
                    return person
        return None

    def _index(self, core: str) -> int | None:
        try:
            code = base64.urlsafe_b64decode(core[:8])[:_CODE_BYTES]
        except (binascii.Error, ValueError):
            return None
        return (int.from_bytes(code) ^ self._mask) * _UNDO & _CODE_MASK


def _form(index: int) -> tuple[str, str]:
    """Return what is put around the id of the user at `index`; nothing for nearly all."""
    turn, place = divmod(index, _ODD_EVERY)
    return _ODD_FORMS[turn % len(_ODD_FORMS)] if place == _ODD_EVERY // 2 else ("", "")


def _cores(user_id: str) -> list[str]:
    """Return what may be the usual part of `user_id`."""
    if len(user_id) == _CORE_LENGTH:
        return [user_id]
    return [
        user_id[len(before) : len(before) + _CORE_LENGTH]
        for before, after in _ODD_FORMS
        if user_id.startswith(before)
        and user_id.endswith(after)
        and len(user_id) == len(before) + _CORE_LENGTH + len(after)
    ]


def _uuid(text: str) -> str:
    """Return 32 hexadecimal digits written as a UUID of version 4."""
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
