"""The tenant's state: who is verified, disabled and the like. Only what has changed is kept."""

from __future__ import annotations

import array
from typing import Final

from worker.sandbox.documents import Standing, created_at, user_document
from worker.sandbox.people import People, Person

PHONE_SLOT: Final = 2
"""Contacts are numbered: 0 the primary e-mail, 1 the second one, 2 the phone."""
SESSIONS: Final = 2
"""Sessions that every user has at first."""
_DISABLED: Final = 1 << 3
_FORCE_RESET: Final = 1 << 4
_FIRST_SESSION_BIT: Final = 5
_SESSION_MASK: Final = 0b11 << _FIRST_SESSION_BIT


class Tenant:
    """All users with what has changed about them: five bytes each.

    Attributes:
        people: The users.
        changes: Goes up with every change.
    """

    def __init__(self, people: People) -> None:
        self.people = people
        self.changes = 0
        # Bits that differ from how the user was made: contacts by slot, then the flags above.
        self._flips = bytearray(people.count)
        self._updated_at = array.array("I", bytes(4 * people.count))

    def is_verified(self, person: Person, slot: int) -> bool:
        """Return whether the contact in `slot` is verified now."""
        return bool((person.verified_at_first ^ self._flips[person.place]) >> slot & 1)

    def set_verified(self, person: Person, slot: int, verified: bool, epoch_s: float) -> None:
        """Set whether the contact in `slot` is verified."""
        if self.is_verified(person, slot) != verified:
            self._flip(person, 1 << slot, epoch_s)

    def disable(self, person: Person, *, revoke_sessions: bool, epoch_s: float) -> None:
        """Close the user's sign-in and, if asked, end the sessions."""
        wanted = _DISABLED | (_SESSION_MASK if revoke_sessions else 0)
        self._flip(person, wanted & ~self._flips[person.place], epoch_s)

    def force_reset(self, person: Person, epoch_s: float) -> None:
        """Make the user set a new password."""
        self._flip(person, _FORCE_RESET & ~self._flips[person.place], epoch_s)

    def sessions(self, person: Person) -> list[str]:
        """Return the ids of the user's live sessions."""
        flips = self._flips[person.place]
        return [
            f"{person.username_id}-{number}"
            for number in range(SESSIONS)
            if not flips >> _FIRST_SESSION_BIT + number & 1
        ]

    def end_session(self, person: Person, session_id: str, epoch_s: float) -> bool:
        """End a session; return whether there was one."""
        if session_id not in self.sessions(person):
            return False
        self._flip(person, 1 << _FIRST_SESSION_BIT + int(session_id[-1]), epoch_s)
        return True

    def standing(self, person: Person) -> Standing:
        """Return everything that can change about the user."""
        flips = self._flips[person.place]
        verified = person.verified_at_first ^ flips
        return Standing(
            (bool(verified & 1), bool(verified & 2), bool(verified & 4)),
            bool(flips & _DISABLED),
            bool(flips & _FORCE_RESET),
            self._updated_at[person.place],
        )

    def created_at(self, person: Person) -> int:
        """Return when the user signed up, in epoch seconds."""
        return created_at(person.place, self.people.count)

    def document(
        self,
        person: Person,
        *,
        standing: Standing | None = None,
        without: tuple[str, ...] = (),
        summary: bool = False,
    ) -> str:
        """Return the user as JSON text, without the contacts named in `without`, or as if in `standing`."""
        standing = standing or self.standing(person)
        return user_document(person, standing, self.created_at(person), without=without, summary=summary)

    def _flip(self, person: Person, bits: int, epoch_s: float) -> None:
        if bits:
            self._flips[person.place] ^= bits
            self._updated_at[person.place] = int(epoch_s)
            self.changes += 1
