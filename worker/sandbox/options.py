"""What the sandbox is asked to be: its size, its key, and the trouble that it makes."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import pydantic

MADE_UP_KEY: Final = "sandbox-key"
"""The key the sandbox takes unless told another; it opens nothing else in the world."""

Share = Annotated[float, pydantic.Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Seconds = Annotated[float, pydantic.Field(ge=0.0)]


class Kind(enum.StrEnum):
    """What can befall one request, at most one at a time; `Trouble` has a share for each by its name."""

    SERVER_ERROR = "server_error"
    """A 5xx as problem+json."""
    HTML_ERROR = "html_error"
    """A 502 page of a proxy."""
    EMPTY_ERROR = "empty_error"
    """A 500 with an empty body."""
    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    PAYMENT = "payment"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    UNPROCESSABLE = "unprocessable"
    THROTTLED = "throttled"
    """A 429 that no limit explains."""
    REDIRECT = "redirect"
    """A redirect to a second listener on loopback, which counts what follows it."""
    FOREIGN = "foreign"
    """A 4xx that is not the API's own, of whatever stands in front of it; the tenant was never asked."""
    HTML_OK = "html_ok"
    """A 200 page of a proxy; the tenant was never asked."""
    RESET = "reset"
    """The connection is reset; nothing was done."""
    STALL = "stall"
    """No answer, ever; nothing was done."""
    GARBAGE = "garbage"
    """Bytes that are no HTTP."""
    STILL_VERIFIED = "still_verified"
    """A 200 whose identifier is still verified; nothing was done."""
    IDENTIFIER_MISSING = "identifier_missing"
    """Done, and a 200 whose user lacks the identifier."""
    RESET_AFTER = "reset_after"
    """Done, and then the connection is reset."""
    STALL_AFTER = "stall_after"
    """Done, and no answer, ever."""
    TRUNCATED = "truncated"
    """Done, and half of the promised body."""
    OVERSIZED = "oversized"
    """Done, and a body of `oversized_bytes` and more."""
    EMPTY_OK = "empty_ok"
    """Done, and a 200 with an empty body."""
    ACCEPTED = "accepted"
    """Done, and a 202 with an empty body."""
    NO_CONTENT = "no_content"
    """Done, and a 204."""


class LimitKind(enum.StrEnum):
    """How a hidden limit counts."""

    TOKEN_BUCKET = "token-bucket"  # noqa: S105 - the name of an algorithm
    FIXED_WINDOW = "fixed-window"
    SLIDING_WINDOW = "sliding-window"


class HeaderForm(enum.StrEnum):
    """What a limit tells in headers. `retry-after-*` come with a 429 alone, the others with each answer."""

    NONE = "none"
    RETRY_AFTER_SECONDS = "retry-after-seconds"
    RETRY_AFTER_DATE = "retry-after-date"
    RETRY_AFTER_ZERO = "retry-after-zero"
    RETRY_AFTER_PAST = "retry-after-past"
    RETRY_AFTER_FRACTION = "retry-after-fraction"
    RETRY_AFTER_HUGE = "retry-after-huge"
    RETRY_AFTER_MALFORMED = "retry-after-malformed"
    RATELIMIT_DRAFT = "ratelimit-draft"
    """`RateLimit` and `RateLimit-Policy` as structured fields (IETF httpapi draft 08 and later)."""
    RATELIMIT_DRAFT_7 = "ratelimit-draft-7"
    """`RateLimit: limit=, remaining=, reset=` (draft 07)."""
    RATELIMIT_OLDER = "ratelimit-older"
    """`RateLimit-Limit`, `-Remaining` and `-Reset` (up to draft 06)."""
    X_RATELIMIT_EPOCH = "x-ratelimit-epoch"
    X_RATELIMIT_RELATIVE = "x-ratelimit-relative"


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Limit(_Model):
    """A hidden rate limit of the whole tenant.

    Attributes:
        kind: How it counts.
        requests: Requests that it lets through in each `per_s`.
        per_s: Length of the window in seconds.
        burst: Tokens that a bucket holds when full; `requests` if not given. Windows have no burst.
        headers: The forms in which it tells about itself.
    """

    kind: LimitKind = LimitKind.TOKEN_BUCKET
    requests: Annotated[int, pydantic.Field(gt=0)]
    per_s: Annotated[float, pydantic.Field(gt=0.0, allow_inf_nan=False)] = 1.0
    burst: Annotated[int, pydantic.Field(gt=0)] | None = None
    headers: tuple[HeaderForm, ...] = ()


class OutageKind(enum.StrEnum):
    """What an outage looks like from outside."""

    UNAVAILABLE = "503"
    REFUSE = "refuse"
    """Live connections are reset and new ones refused."""
    RESET = "reset"
    STALL = "stall"


class Outage(_Model):
    """A time in which nothing works.

    Attributes:
        kind: What it looks like.
        from_request: It begins with this request, counted from 1 since the trouble was set.
        for_s: How long it lasts, in seconds from that request's arrival.
    """

    kind: OutageKind = OutageKind.UNAVAILABLE
    from_request: Annotated[int, pydantic.Field(ge=1)] = 1
    for_s: Annotated[float, pydantic.Field(gt=0.0)]


class Trouble(_Model):
    """All the trouble at one time. Each share is one of all requests, drawn anew for each attempt of a pair.

    Which attempts are hit follows from the seed, the ids and the attempt's number alone, so that it does
    not depend on the order in which requests happen to arrive.

    Attributes:
        limits: Hidden limits; a request must pass them all.
        outages: Times in which nothing works.
        slow: Share of requests answered only after `slow_s`.
        gzip: Share answered with a gzip-encoded body.
        latin1: Share answered in Latin-1 although the type says UTF-8.
        close: Share after whose answer the connection is closed.
        server_error_statuses: What `server_error` chooses from.
        foreign_statuses: What `foreign` chooses from.
        foreign_form: What it comes with: a proxy's page, a line of text, a gateway's JSON, or no body.
        redirect_status: What `redirect` answers.
        unprocessable_form: Which of the three forms of a 422 comes.
        oversized_bytes: What an oversized body holds at least.
        key_revoked_after: The key is wrong from this many requests on.
        for_users: What always befalls a user's requests, by user id.
    """

    limits: tuple[Limit, ...] = ()
    outages: tuple[Outage, ...] = ()
    server_error: Share = 0.0
    html_error: Share = 0.0
    empty_error: Share = 0.0
    bad_request: Share = 0.0
    unauthorized: Share = 0.0
    payment: Share = 0.0
    forbidden: Share = 0.0
    not_found: Share = 0.0
    conflict: Share = 0.0
    unprocessable: Share = 0.0
    throttled: Share = 0.0
    redirect: Share = 0.0
    foreign: Share = 0.0
    html_ok: Share = 0.0
    reset: Share = 0.0
    stall: Share = 0.0
    garbage: Share = 0.0
    still_verified: Share = 0.0
    identifier_missing: Share = 0.0
    reset_after: Share = 0.0
    stall_after: Share = 0.0
    truncated: Share = 0.0
    oversized: Share = 0.0
    empty_ok: Share = 0.0
    accepted: Share = 0.0
    no_content: Share = 0.0
    slow: Share = 0.0
    gzip: Share = 0.0
    latin1: Share = 0.0
    close: Share = 0.0
    slow_s: Seconds = 1.0
    server_error_statuses: Annotated[
        tuple[Annotated[int, pydantic.Field(ge=500, le=599)], ...], pydantic.Field(min_length=1)
    ] = (500, 502, 503, 504)
    foreign_statuses: Annotated[
        tuple[Annotated[int, pydantic.Field(ge=400, le=499)], ...], pydantic.Field(min_length=1)
    ] = (404,)
    foreign_form: Literal["html", "text", "json", "empty"] = "html"
    redirect_status: Literal[301, 302, 303, 307, 308] = 307
    unprocessable_form: Literal["identity", "validation", "other"] = "identity"
    oversized_bytes: Annotated[int, pydantic.Field(gt=0)] = 8 * 1024 * 1024
    key_revoked_after: Annotated[int, pydantic.Field(ge=0)] | None = None
    for_users: dict[str, Kind] = pydantic.Field(default_factory=dict)

    def shares(self) -> list[tuple[Kind, float]]:
        """Return the kinds that have a share above zero, in the order of `Kind`."""
        return [(kind, share) for kind in Kind if (share := float(getattr(self, kind.value))) > 0.0]

    @pydantic.model_validator(mode="after")
    def _fits_in_one(self) -> Self:
        total = sum(share for _, share in self.shares())
        if total > 1.0 + 1e-9:
            raise ValueError(f"the shares of trouble add up to {total:g}; together they can be at most 1")
        return self


class SandboxOptions(_Model):
    """What a sandbox is.

    Attributes:
        host: A loopback address, or `localhost`.
        port: 0 takes any free one.
        users: How many users the tenant has; none of them costs anything until it changes.
        seed: The same seed and number of users make the same tenant.
        api_key: The one key that is right.
        plan: On the free plan the calls on sessions answer 402.
        already_unverified: What unverifying an unverified e-mail answers; what the real API does is unknown.
        tls_cert: PEM file of the certificate (chain); with it comes `tls_key`.
        tls_key: PEM file of the certificate's key.
        trouble: What goes wrong from the start.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, pydantic.Field(ge=0, le=65535)] = 0
    users: Annotated[int, pydantic.Field(ge=1, le=100_000_000)] = 10_000
    seed: int = 1
    api_key: Annotated[str, pydantic.Field(min_length=1, repr=False)] = MADE_UP_KEY
    plan: Literal["free", "pro"] = "free"
    already_unverified: Literal[200, 422] = 200
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trouble: Trouble = Trouble()

    @pydantic.model_validator(mode="after")
    def _whole_pair(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("TLS needs both a certificate and its key")
        return self
