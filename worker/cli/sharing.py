"""What a fleet's workers share, from flags and the environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.brokers import QueueAddress

SHARED_RATE: Final = "BULK_UNVERIFY_SHARED_RATE"
_NOTHING: Final = "none"


def shared_store(given: str | None, queue: QueueAddress) -> QueueAddress | None:
    """Return the Redis in which a fleet keeps its rate: the one that is named, else the queue's own if it is one.

    Raises:
        UsageError: It is none, or it holds a password and was given as an argument.
    """
    from worker.brokers import QueueAddress
    from worker.errors import UsageError

    named = os.environ.get(SHARED_RATE, "") if given is None else given
    if not named:
        return queue if queue.is_redis else None
    if named == _NOTHING:
        return None
    if not named.startswith(("redis://", "rediss://")):
        raise UsageError(
            f"--shared-rate is the URL of a Redis, redis:// or rediss://, or {_NOTHING}: each worker keeps"
            " --rate / --workers."
        )
    try:
        address = QueueAddress.parse(named)
    except UsageError as error:
        raise UsageError(str(error).replace("--queue", "--shared-rate")) from None
    if given is not None and address.has_password:
        raise UsageError(
            f"--shared-rate holds a password, which everybody can see: set {SHARED_RATE} to that URL instead."
        )
    return address
