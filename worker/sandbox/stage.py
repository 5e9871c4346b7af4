"""Which answer a request gets once its fate is known, and whether its call is done for it."""

from __future__ import annotations

import dataclasses
from typing import Final

from worker.sandbox.api import Api
from worker.sandbox.options import Kind, Trouble
from worker.sandbox.people import Person
from worker.sandbox.replies import EMPTY_ANSWERS, PLAIN_TROUBLE, Reply, foreign, problem, unprocessable
from worker.sandbox.routes import Route
from worker.sandbox.script import Fate

NOTHING_DONE: Final = frozenset(PLAIN_TROUBLE) | {
    Kind.SERVER_ERROR,
    Kind.FOREIGN,
    Kind.UNPROCESSABLE,
    Kind.REDIRECT,
    Kind.RESET,
    Kind.STALL,
    Kind.GARBAGE,
    Kind.STILL_VERIFIED,
}
"""Trouble that strikes before the call is done."""

_NO_REPLY: Final = Reply(500, "", "")
"""What stands for an answer that is never written."""
_FALSE: Final = frozenset({Kind.STILL_VERIFIED, Kind.IDENTIFIER_MISSING})


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """Where a request is answered.

    Attributes:
        api: What does the calls.
        trouble: The settings of the trouble's kinds.
        elsewhere: Where a redirect leads.
    """

    api: Api
    trouble: Trouble
    elsewhere: str

    def reply(self, route: Route, person: Person | None, body: bytes, fate: Fate, epoch_s: float) -> Reply:
        """Do the call unless `fate` prevents it, and return the answer as the client is to see it."""
        kind = fate.kind
        if kind in _FALSE and kind is not None:
            return self.api.answer_falsely(route, person, kind, epoch_s)
        if kind in NOTHING_DONE and kind is not None:
            return self._instead(kind, fate.status)
        reply = self.api.answer(route, person, body, epoch_s)
        if kind is Kind.OVERSIZED:
            return _padded(reply, self.trouble.oversized_bytes)
        if kind in EMPTY_ANSWERS and kind is not None:
            return Reply(EMPTY_ANSWERS[kind], "", "")
        return reply

    def _instead(self, kind: Kind, status: int) -> Reply:
        """Return the answer of trouble that strikes before the call is done."""
        if kind in PLAIN_TROUBLE:
            return PLAIN_TROUBLE[kind]
        if kind is Kind.SERVER_ERROR:
            return problem(status, "The service is in trouble.")
        if kind is Kind.FOREIGN:
            return foreign(status, self.trouble.foreign_form)
        if kind is Kind.UNPROCESSABLE:
            return unprocessable(self.trouble.unprocessable_form)
        if kind is Kind.REDIRECT:
            return Reply(self.trouble.redirect_status, "", "", {"Location": self.elsewhere})
        return _NO_REPLY


def _padded(reply: Reply, least_bytes: int) -> Reply:
    """Return `reply` with its user wrapped in a list that is at least `least_bytes` long."""
    padding = "x" * least_bytes
    return reply._replace(body=f'[{{"padding":"{padding}"}},{reply.body or "null"}]')
