"""The API's calls: what each does to the tenant and what it answers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from worker.sandbox.listing import Listing
from worker.sandbox.options import Kind
from worker.sandbox.people import Person
from worker.sandbox.replies import PLAIN_TROUBLE, Reply, problem, unprocessable
from worker.sandbox.routes import Action, Route
from worker.sandbox.tenant import PHONE_SLOT, Tenant

_VERIFY: Final[Mapping[Action, tuple[str, bool]]] = {
    Action.UNVERIFY_EMAIL: ("email", False),
    Action.VERIFY_EMAIL: ("email", True),
    Action.UNVERIFY_PHONE: ("phone", False),
    Action.VERIFY_PHONE: ("phone", True),
}
_DEFAULT_EXPIRY_S: Final = 86_400
_MAX_EXPIRY_S: Final = 30 * 86_400


class Api:
    """Answers calls whose key was right and that no trouble befell."""

    def __init__(
        self, tenant: Tenant, plan: Literal["free", "pro"], already_unverified: Literal[200, 422]
    ) -> None:
        self._tenant = tenant
        self._listing = Listing(tenant)
        self._plan = plan
        self._already_unverified = already_unverified
        self._of_user: Mapping[Action, Callable[[Person, Route, bytes, float], Reply]] = {
            Action.UNVERIFY_EMAIL: self._verification,
            Action.VERIFY_EMAIL: self._verification,
            Action.UNVERIFY_PHONE: self._verification,
            Action.VERIFY_PHONE: self._verification,
            Action.VERIFY_LINK: self._verify_link,
            Action.GET_USER: self._get_user,
            Action.DISABLE: self._disable,
            Action.FORCE_RESET: self._force_reset,
            Action.LIST_SESSIONS: self._list_sessions,
            Action.DELETE_SESSION: self._delete_session,
        }

    def answer(self, route: Route, person: Person | None, body: bytes, epoch_s: float) -> Reply:
        """Do what `route` asks, to `person` if the user exists, and return the answer."""
        if route.action is Action.LIST_USERS:
            return self._listing.answer(route.query)
        if route.action is Action.UNKNOWN:
            return problem(404, "There is nothing at this address.")
        if route.action is Action.WRONG_METHOD:
            return problem(405, "The address does not take this method.")
        if person is None:
            return problem(404, "The user does not exist.")
        return self._of_user[route.action](person, route, body, epoch_s)

    def answer_falsely(self, route: Route, person: Person | None, kind: Kind, epoch_s: float) -> Reply:
        """Answer 200 with a user that does not show what was asked (`still_verified`, `identifier_missing`).

        Calls that verify or unverify nothing that exists are answered as always.
        """
        contact, wanted = _VERIFY.get(route.action, ("", False))
        slot = contact_slot(person, contact, route.identifier_id) if person is not None and contact else None
        if person is None or slot is None:
            return self.answer(route, person, b"", epoch_s)
        if kind is Kind.IDENTIFIER_MISSING:
            self._tenant.set_verified(person, slot, wanted, epoch_s)
            missing = person.email_ids[slot] if slot < len(person.email_ids) else person.phone_id
            return Reply(200, self._tenant.document(person, without=(missing,)))
        # As if nobody had ever done what is asked, also on a second try.
        unchanged = self._tenant.standing(person)._replace(verified=(not wanted,) * 3)
        return Reply(200, self._tenant.document(person, standing=unchanged))

    def _verification(self, person: Person, route: Route, _body: bytes, epoch_s: float) -> Reply:
        contact, verified = _VERIFY[route.action]
        slot = contact_slot(person, contact, route.identifier_id)
        if slot is None:
            return problem(404, "The identifier does not exist.")
        strict = not verified and self._already_unverified == 422  # noqa: PLR2004 - the status itself
        if strict and not self._tenant.is_verified(person, slot):
            return unprocessable("identity")
        self._tenant.set_verified(person, slot, verified, epoch_s)
        return Reply(200, self._tenant.document(person))

    def _verify_link(self, person: Person, route: Route, body: bytes, epoch_s: float) -> Reply:
        if contact_slot(person, "email", route.identifier_id) is None:
            return problem(404, "The identifier does not exist.")
        asked = _json_object(body)
        if asked is None:
            return PLAIN_TROUBLE[Kind.BAD_REQUEST]
        expiry_s = asked.get("expiry", _DEFAULT_EXPIRY_S)
        if type(expiry_s) is not int or not 0 < expiry_s <= _MAX_EXPIRY_S:
            errors = {"expiry": [f"Must be a whole number from 1 to {_MAX_EXPIRY_S}."]}
            return problem(422, "One or more fields are wrong.", "#validation-error", errors=errors)
        return Reply(200, json.dumps({"email_sent": True, "expires_at": int(epoch_s) + expiry_s}))

    def _get_user(self, person: Person, _route: Route, _body: bytes, _epoch_s: float) -> Reply:
        return Reply(200, self._tenant.document(person))

    def _disable(self, person: Person, _route: Route, body: bytes, epoch_s: float) -> Reply:
        asked = _json_object(body)
        if asked is None or not isinstance(asked.get("revoke_sessions", False), bool):
            return PLAIN_TROUBLE[Kind.BAD_REQUEST]
        revoke = bool(asked.get("revoke_sessions", False))
        self._tenant.disable(person, revoke_sessions=revoke, epoch_s=epoch_s)
        return Reply(200, self._tenant.document(person))

    def _force_reset(self, person: Person, _route: Route, _body: bytes, epoch_s: float) -> Reply:
        self._tenant.force_reset(person, epoch_s)
        return Reply(200, self._tenant.document(person))

    def _list_sessions(self, person: Person, _route: Route, _body: bytes, _epoch_s: float) -> Reply:
        if self._plan == "free":
            return PLAIN_TROUBLE[Kind.PAYMENT]
        created = self._tenant.created_at(person)
        sessions = [
            {"session_id": session_id, "user_id": person.user_id, "creation_time": created}
            for session_id in self._tenant.sessions(person)
        ]
        return Reply(200, json.dumps(sessions))

    def _delete_session(self, person: Person, route: Route, _body: bytes, epoch_s: float) -> Reply:
        if self._plan == "free":
            return PLAIN_TROUBLE[Kind.PAYMENT]
        if not self._tenant.end_session(person, route.identifier_id, epoch_s):
            return problem(404, "The session does not exist.")
        return Reply(204, "", "")


def contact_slot(person: Person, contact: str, identifier_id: str) -> int | None:
    """Return the slot of the user's `email` or `phone` that has `identifier_id`, in any spelling, or None."""
    guid = _guid(identifier_id)
    if contact == "phone":
        return PHONE_SLOT if guid == person.phone_id else None
    return person.email_ids.index(guid) if guid in person.email_ids else None


def _guid(text: str) -> str:
    """Return a GUID as the API writes it, whatever spelling the route was asked with; "" for what is none."""
    try:
        return str(uuid.UUID(text.strip().strip("()")))
    except ValueError:
        return ""


def _json_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in `body`, an empty one for no body, or None if it is something else."""
    if not body:
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
