"""The address of a queue: one URL, whose form is its broker's. It may hold a password: never shown.

`redis://HOST:6379/DB?stream=NAME` · `amqp://HOST:5672/VHOST/NAME`, or `amqp://HOST/NAME` in the virtual host `/` ·
`nats://HOST:4222/NAME` · `sqs://REGION/NAME` for Amazon's, `sqs://HOST:PORT/NAME?region=REGION` for another endpoint.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from worker.errors import UsageError

DEFAULT_NAME: Final = "bulk-unverify"
_DATABASE: Final = re.compile(r"^/?[0-9]{0,4}$")
_REGION: Final = re.compile(r"^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$")

_FIFO: Final = ".fifo"
_ENCRYPTED: Final = {"redis": "rediss", "amqp": "amqps"}
_LONGEST_HEARTBEAT_S: Final = 65_534
"""AMQP has two bytes for it; aiormq takes none from there on, and says nothing."""

_Options = dict[str, str]


def _in_redis(parts: SplitResult, options: _Options) -> tuple[str, str]:
    if not _DATABASE.match(parts.path):
        raise UsageError("--queue: after the host comes the database's number: redis://HOST/0?stream=NAME.")
    return parts.path, options.pop("stream", DEFAULT_NAME)


def _in_rabbitmq(parts: SplitResult, _: _Options) -> tuple[str, str]:
    *host, name = parts.path.split("/")
    return "/".join(host) or "/", name or DEFAULT_NAME


def _in_nats(parts: SplitResult, _: _Options) -> tuple[str, str]:
    return "", parts.path.removeprefix("/") or DEFAULT_NAME


def _in_sqs(parts: SplitResult, options: _Options) -> tuple[str, str]:
    if "@" in parts.netloc:
        raise UsageError(
            "--queue: sqs:// takes no login. It is found as the AWS command line finds it: AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, a profile, or the machine's role."
        )
    if not _REGION.match(options.get("region", parts.netloc)):
        raise UsageError(
            "--queue: sqs://REGION/NAME (for example sqs://eu-west-1/unverify), or, where it is not Amazon's,"
            " sqs://HOST:PORT/NAME?region=REGION."
        )
    if options.get("insecure", "1") != "1" or ("insecure" in options and "region" not in options):
        raise UsageError("--queue: insecure=1 takes TLS off a host that is named with its region, no more.")
    return "", parts.path.removeprefix("/") or DEFAULT_NAME


@dataclasses.dataclass(frozen=True, slots=True)
class _Form:
    """What the URLs of a broker look like.

    Attributes:
        schemes: What they begin with.
        extra: What installs the library that speaks to it.
        example: One of them.
        options: What may stand behind the question mark. No secret, and nothing that takes checks off.
        locate: Returns path and name of the queue, and takes what names it out of the options.
        name: What a queue may be called.
        characters: The same for people.
    """

    schemes: tuple[str, ...]
    extra: str
    example: str
    options: tuple[str, ...]
    locate: Callable[[SplitResult, _Options], tuple[str, str]]
    name: re.Pattern[str]
    characters: str


_ANY: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._{}-]{0,79}$")
REDIS_TLS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
AMQP_TLS: Final = ("cafile", "certfile", "keyfile")
_FORMS: Final = (
    _Form(
        ("redis", "rediss"),
        "redis",
        "redis://HOST:6379/0?stream=NAME",
        ("stream", *REDIS_TLS),
        _in_redis,
        _ANY,
        ". _ - { }",
    ),
    _Form(
        ("amqp", "amqps"),
        "rabbitmq",
        "amqp://HOST:5672/VHOST/NAME",
        (*AMQP_TLS, "heartbeat"),
        _in_rabbitmq,
        _ANY,
        ". _ - { }",
    ),
    _Form(
        ("nats", "tls"),
        "nats",
        "nats://HOST:4222/NAME",
        (),
        _in_nats,
        re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$"),
        "_ -",
    ),
    _Form(
        ("sqs",),
        "sqs",
        "sqs://REGION/NAME",
        ("region", "insecure"),
        _in_sqs,
        # 80 characters are SQS' own limit, and the queues of results have longer names.
        re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"),
        "_ -",
    ),
)
_BY_SCHEME: Final = {scheme: form for form in _FORMS for scheme in form.schemes}


@dataclasses.dataclass(frozen=True, slots=True)
class QueueAddress:
    """Where a queue is.

    Attributes:
        scheme: What speaks there, for example `redis`.
        server: URL of the broker, password included, without what names the queue.
        name: The queue's name.
    """

    scheme: str
    server: str = dataclasses.field(repr=False)
    name: str

    @classmethod
    def parse(cls, url: str) -> QueueAddress:
        """Return the address that `url` gives.

        Raises:
            UsageError: It is none; the message does not hold the URL.
        """
        parts = _split(url)
        form = _BY_SCHEME.get(parts.scheme)
        if form is None:
            raise UsageError(
                f"--queue begins with {', '.join(f'{scheme}://' for scheme in _BY_SCHEME)}"
                f" (not with {parts.scheme or 'nothing'}://)."
            )
        if not parts.hostname:
            raise UsageError(f"--queue names no host: {form.example}.")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if not options.keys() <= set(form.options) or parts.fragment:
            known = f"there may be {', '.join(form.options)}, no more" if form.options else "there is nothing"
            raise UsageError(f"--queue: behind the question mark {known}: {form.example}.")
        _check(parts.scheme, options)
        path, name = form.locate(parts, options)
        if form.extra == "sqs" and name.endswith(_FIFO):
            raise UsageError(
                "--queue: a FIFO queue of SQS is not worked from: it holds back the rest of a group while one"
                " message is worked on. Make a standard queue, whose name does not end with .fifo."
            )
        if not form.name.match(name):
            raise UsageError(
                f"--queue: a queue's name in {form.example} has letters, digits and {form.characters}, begins with"
                " a letter or digit, and is not too long."
            )
        server = urlunsplit((parts.scheme, parts.netloc, path, urlencode(options), ""))
        return cls(parts.scheme, server, name)

    @property
    def is_redis(self) -> bool:
        """Whether a Redis is there."""
        return self.extra == "redis"

    @property
    def extra(self) -> str:
        """What installs the library that speaks there."""
        return _BY_SCHEME[self.scheme].extra

    @property
    def has_password(self) -> bool:
        """Whether the URL holds a secret: a password, or NATS' login that is a token by itself."""
        parts = urlsplit(self.server)
        return parts.password is not None or (self.extra == "nats" and parts.username is not None)

    def __str__(self) -> str:
        """Return what may be shown: scheme, host, the database or virtual host if it is another than usual, name."""
        parts = urlsplit(self.server)
        usual = ("", "/", "/0") if self.is_redis else ("", "/")
        place = "" if parts.path in usual else parts.path
        return f"{self.scheme}://{parts.netloc.rpartition('@')[2]}{place} {self.name}"


def _check(scheme: str, options: _Options) -> None:
    """Refuse options that would change nothing, or that the library replaces with what it likes better.

    Raises:
        UsageError: There is one.
    """
    words = [word for word in (*REDIS_TLS, *AMQP_TLS) if word in options]
    if words and scheme in _ENCRYPTED:
        raise UsageError(
            f"--queue: {' and '.join(words)} {'goes' if len(words) == 1 else 'go'} with {_ENCRYPTED[scheme]}://, as"
            f" {scheme}:// encrypts nothing."
        )
    for _, certificate, key in (REDIS_TLS, AMQP_TLS):
        if key in options and certificate not in options:
            raise UsageError(f"--queue: {key} goes with {certificate}.")
    heartbeat = options.get("heartbeat", "60")
    if not (heartbeat.isascii() and heartbeat.isdecimal() and int(heartbeat) <= _LONGEST_HEARTBEAT_S):
        raise UsageError(
            f"--queue: heartbeat is a whole number of seconds, 0 (none) to {_LONGEST_HEARTBEAT_S:,}."
        )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its text may hold a part of the password
        raise UsageError(
            "--queue is no URL that can be read: in a login, write the signs / @ : # ? [ ] in percent form."
        ) from None
    return parts
