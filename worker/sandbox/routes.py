"""Which call a request is: matched on the raw path, so that an encoded id can never change the route."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple
from urllib.parse import unquote

BASE: Final = "/api/"


class Action(enum.StrEnum):
    """The calls of the API, and the two ways to miss them all."""

    UNVERIFY_EMAIL = "unverify-email"
    VERIFY_EMAIL = "verify-email"
    VERIFY_LINK = "verify-link"
    UNVERIFY_PHONE = "unverify-phone"
    VERIFY_PHONE = "verify-phone"
    GET_USER = "get-user"
    LIST_USERS = "list-users"
    DISABLE = "disable"
    FORCE_RESET = "force-reset"
    LIST_SESSIONS = "list-sessions"
    DELETE_SESSION = "delete-session"
    WRONG_METHOD = "wrong-method"
    UNKNOWN = "unknown"


_USER: Final = "{user_id}"
_IDENTIFIER: Final = "{identifier_id}"
_ROUTES: Final = tuple(
    (method, tuple(path.split("/")), action)
    for method, path, action in (
        ("POST", f"users/{_USER}/emails/{_IDENTIFIER}/unverify", Action.UNVERIFY_EMAIL),
        ("POST", f"users/{_USER}/emails/{_IDENTIFIER}/verify", Action.VERIFY_EMAIL),
        ("POST", f"users/{_USER}/emails/{_IDENTIFIER}/verify/link", Action.VERIFY_LINK),
        ("POST", f"users/{_USER}/phones/{_IDENTIFIER}/unverify", Action.UNVERIFY_PHONE),
        ("POST", f"users/{_USER}/phones/{_IDENTIFIER}/verify", Action.VERIFY_PHONE),
        ("GET", f"users/{_USER}", Action.GET_USER),
        ("GET", "users", Action.LIST_USERS),
        ("POST", f"users/{_USER}/disable", Action.DISABLE),
        ("POST", f"users/{_USER}/password/force_reset", Action.FORCE_RESET),
        ("GET", f"users/{_USER}/sessions", Action.LIST_SESSIONS),
        ("DELETE", f"users/{_USER}/sessions/{_IDENTIFIER}", Action.DELETE_SESSION),
    )
)


class Route(NamedTuple):
    """What a request asks for; ids are decoded, and empty where the call has none."""

    action: Action
    user_id: str = ""
    identifier_id: str = ""
    query: str = ""


def find_route(method: str, raw_path: str) -> Route:
    """Return the route of `raw_path`, which is as it stood in the request line."""
    path, _, query = raw_path.partition("?")
    if not path.startswith(BASE):
        return Route(Action.UNKNOWN)
    segments = path[len(BASE) :].split("/")
    found = Action.UNKNOWN
    for allowed, pattern, action in _ROUTES:
        if len(pattern) != len(segments):
            continue
        ids = _match(pattern, segments)
        if ids is not None and allowed == method:
            return Route(action, ids.get(_USER, ""), ids.get(_IDENTIFIER, ""), query)
        if ids is not None:
            found = Action.WRONG_METHOD
    return Route(found)


def _match(pattern: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    """Return the decoded ids if `segments` fit `pattern`; an empty segment is no id."""
    ids = {}
    for wanted, segment in zip(pattern, segments, strict=True):
        if wanted[0] == "{":
            if not segment:
                return None
            ids[wanted] = unquote(segment) if "%" in segment else segment
        elif wanted != segment:
            return None
    return ids
