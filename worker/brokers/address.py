"""The address of a queue: `redis://host:6379/0?stream=NAME` and its kin. It may hold a password: never shown.

RabbitMQ's is `amqp://host:5672/VHOST/NAME`; without a virtual host, `amqp://host/NAME`, it is in `/`.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from worker.errors import UsageError

DEFAULT_NAME: Final = "bulk-unverify"
_NAME: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._{}-]{0,79}$")
AMQP: Final = ("amqp", "amqps")
REDIS: Final = ("redis", "rediss")
_SCHEMES: Final = (*REDIS, *AMQP)
_OPTIONS: Final = {
    scheme: ("cafile", "certfile", "keyfile", "heartbeat")
    if scheme in AMQP
    else ("stream", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
    for scheme in _SCHEMES
}
"""What may stand behind the question mark. No secret, and nothing that takes checks off."""
_DATABASE: Final = re.compile(r"^/?[0-9]{0,4}$")


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
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:  # its text may hold a part of the password
            raise UsageError(
                "--queue is no URL that can be read: in a login, write the signs / @ : # ? [ ] in percent form."
            ) from None
        if parts.scheme not in _SCHEMES:
            raise UsageError(
                f"--queue begins with {', '.join(f'{scheme}://' for scheme in _SCHEMES)}"
                f" (not with {parts.scheme or 'nothing'}://)."
            )
        if not parts.hostname:
            raise UsageError("--queue names no host: redis://HOST:6379/0?stream=NAME.")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        known = _OPTIONS[parts.scheme]
        if not options.keys() <= set(known) or parts.fragment:
            raise UsageError(f"--queue: behind the question mark there may be {', '.join(known)}, no more.")
        path = parts.path
        if parts.scheme in AMQP:
            path, _, name = path.rpartition("/")
            path, name = path or "/", name or DEFAULT_NAME
        elif _DATABASE.match(path):
            name = options.pop("stream", DEFAULT_NAME)
        else:
            raise UsageError(
                "--queue: after the host comes the database's number: redis://HOST/0?stream=NAME."
            )
        if not _NAME.match(name):
            raise UsageError(
                "--queue: a queue's name has letters, digits and . _ - { } and begins with a letter or digit."
            )
        server = urlunsplit((parts.scheme, parts.netloc, path, urlencode(options), ""))
        return cls(parts.scheme, server, name)

    @property
    def is_redis(self) -> bool:
        """Whether a Redis is there."""
        return self.scheme in REDIS

    @property
    def has_password(self) -> bool:
        """Whether the URL holds a secret."""
        return urlsplit(self.server).password is not None

    def __str__(self) -> str:
        """Return what may be shown: scheme, host and name, no login."""
        host = urlsplit(self.server).netloc.rpartition("@")[2]
        return f"{self.scheme}://{host} {self.name}"
