"""What the tenant answers, as values: a status, headers and a body."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from http.client import responses
from typing import Any, Final, NamedTuple

from worker.sandbox.options import Kind

JSON: Final = "application/json; charset=utf-8"
PROBLEM: Final = "application/problem+json; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"

_PAGE: Final = (
    "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1>"
    "<p>This page comes from the proxy in front of the service.</p></body></html>"
)


_NO_HEADERS: Final[Mapping[str, str]] = types.MappingProxyType({})


class Reply(NamedTuple):
    """One answer.

    Attributes:
        status: HTTP status.
        body: Text; encoded only when it is written.
        content_type: Its type; empty for an answer without a body.
        headers: Further headers.
    """

    status: int
    body: str = ""
    content_type: str = JSON
    headers: Mapping[str, str] = _NO_HEADERS


def problem(status: int, detail: str, kind: str = "", **extra: Any) -> Reply:
    """Return a problem document (RFC 9457); `kind` is what its type's URL ends in."""
    document = {
        "type": f"https://httpstatuses.io/{status}{kind}",
        "title": responses.get(status, "Error"),
        "status": status,
        "detail": detail,
        "instance": "/sandbox",
    }
    return Reply(status, json.dumps(document | extra), PROBLEM)


def unprocessable(form: str) -> Reply:
    """Return a 422 in one of its three forms: `identity`, `validation` or `other`."""
    if form == "identity":
        errors: Any = [{"code": "InvalidIdentifier", "description": "The identifier cannot be changed."}]
        return problem(422, "Identity validation failed.", "#identity-validation-error", errors=errors)
    if form == "validation":
        errors = {"identifier_id": ["The identifier cannot be changed."]}
        return problem(422, "One or more fields are wrong.", "#validation-error", errors=errors)
    return problem(422, "The request cannot be processed.")


def page(status: int, title: str) -> Reply:
    """Return a web page, as a proxy in front of the tenant makes it."""
    return Reply(status, _PAGE.format(title=title), HTML)


def foreign(status: int, form: str) -> Reply:
    """Return an error as something in front of the API gives it: no problem document, so not the API's own."""
    title = f"{status} {responses.get(status, 'Error')}"
    if form == "html":
        return page(status, title)
    if form == "json":
        return Reply(status, json.dumps({"message": title, "request_id": "made-up"}))
    return Reply(status, title, TEXT) if form == "text" else Reply(status, "", "")


PLAIN_TROUBLE: Final[Mapping[Kind, Reply]] = {
    Kind.HTML_ERROR: page(502, "502 Bad Gateway"),
    Kind.EMPTY_ERROR: Reply(500, "", ""),
    Kind.BAD_REQUEST: problem(400, "The request could not be understood."),
    Kind.UNAUTHORIZED: problem(401, "The API key is missing, wrong or revoked."),
    Kind.PAYMENT: problem(402, "The tenant's plan does not include this."),
    Kind.FORBIDDEN: problem(403, "The API key may not do this."),
    Kind.NOT_FOUND: problem(404, "The user or identifier does not exist."),
    Kind.CONFLICT: problem(409, "The user was changed at the same time."),
    Kind.THROTTLED: problem(429, "Resource exhausted."),
    Kind.HTML_OK: page(200, "Please sign in to the network"),
}
"""What a kind of trouble answers where that is always the same; nothing was done then."""

EMPTY_ANSWERS: Final[Mapping[Kind, int]] = {Kind.EMPTY_OK: 200, Kind.ACCEPTED: 202, Kind.NO_CONTENT: 204}
"""Statuses of answers with an empty body to calls that were done."""
