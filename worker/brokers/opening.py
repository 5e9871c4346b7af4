"""From an address to a queue. A broker's library is imported when a queue of its kind is opened."""

from __future__ import annotations

from typing import Final

from worker.brokers.address import AMQP, QueueAddress
from worker.errors import UsageError
from worker.ports import FleetStore, WorkQueue

LEASE_S: Final = 30.0


def open_queue(address: QueueAddress, consumer: str, *, lease_s: float = LEASE_S) -> WorkQueue:
    """Return the queue at `address`; `aclose` ends it.

    Args:
        address: Where it is.
        consumer: The name of whoever takes from it, unlike any other's.
        lease_s: Seconds after which a delivery that was not extended goes to another; RabbitMQ's are its own.

    Raises:
        UsageError: The broker's library is not installed.
    """
    try:
        return _opened(address, consumer, lease_s)
    except ImportError as error:
        extra = "rabbitmq" if address.scheme in AMQP else "redis"
        raise UsageError(
            f"{address.scheme}:// needs a library that is not installed: pip install 'bulk-unverify[{extra}]'."
        ) from error


def open_fleet_store(address: QueueAddress, tenant: str) -> FleetStore:
    """Return where the workers that call `tenant` keep their rate: the Redis at `address`; `aclose` ends it.

    Raises:
        UsageError: The library is not installed.
    """
    try:
        from worker.brokers.redis_fleet import RedisFleetStore  # noqa: PLC0415 - see above
    except ImportError as error:
        raise UsageError(
            "--shared-rate needs a library that is not installed: pip install 'bulk-unverify[redis]'."
        ) from error
    return RedisFleetStore.connect(address, tenant)


def _opened(address: QueueAddress, consumer: str, lease_s: float) -> WorkQueue:
    if address.scheme in AMQP:
        from worker.brokers.rabbitmq import rabbit_work_queue  # noqa: PLC0415 - see above

        return rabbit_work_queue(address, consumer)
    from worker.brokers.redis_streams import RedisWorkQueue  # noqa: PLC0415 - see above

    return RedisWorkQueue.connect(address, consumer, lease_s=lease_s)
