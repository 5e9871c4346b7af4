"""From an address to a queue. A broker's library is imported when a queue of its kind is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from worker.brokers.address import QueueAddress
from worker.brokers.fence import Fence
from worker.brokers.tls_files import check_tls_files
from worker.errors import UsageError
from worker.ports import FleetStore, WorkQueue

T = TypeVar("T")

LEASE_S: Final = 30.0


def open_queue(
    address: QueueAddress, consumer: str, *, lease_s: float = LEASE_S, fence: QueueAddress | None = None
) -> WorkQueue:
    """Return the queue at `address`; `aclose` ends it.

    Args:
        address: Where it is.
        consumer: The name of whoever takes from it, unlike any other's.
        lease_s: Seconds after which a delivery that was not extended goes to another; RabbitMQ's are its own.
        fence: A Redis that remembers rows for a broker that does not; Redis itself needs none.

    Raises:
        UsageError: The broker's library is not installed.
        ConfigurationError: A file that the address names for TLS cannot be used.
    """
    kept = None
    if fence is not None and not address.is_redis:
        kept = _with_its_library(fence, lambda: _fence(fence, address))
    return _with_its_library(address, lambda: _opened(address, consumer, lease_s, kept))


def _with_its_library(address: QueueAddress, opened: Callable[[], T]) -> T:
    check_tls_files(address)
    try:
        return opened()
    except ImportError as error:
        raise UsageError(
            f"{address.scheme}:// needs a library that is not installed:"
            f" pip install 'bulk-unverify[{address.extra}]'."
        ) from error


def open_fleet_store(address: QueueAddress, tenant: str) -> FleetStore:
    """Return where the workers that call `tenant` keep their rate: the Redis at `address`; `aclose` ends it.

    Raises:
        UsageError: The library is not installed.
        ConfigurationError: A file that the address names for TLS cannot be used.
    """
    check_tls_files(address)
    try:
        from worker.brokers.redis_fleet import RedisFleetStore  # noqa: PLC0415 - see above
    except ImportError as error:
        raise UsageError(
            "--shared-rate needs a library that is not installed: pip install 'bulk-unverify[redis]'."
        ) from error
    return RedisFleetStore.connect(address, tenant)


def _fence(fence: QueueAddress, queue: QueueAddress) -> Fence:
    from worker.brokers.redis_fence import RedisFence  # noqa: PLC0415 - see above

    return RedisFence(fence, queue)


def _opened(address: QueueAddress, consumer: str, lease_s: float, fence: Fence | None) -> WorkQueue:
    if address.extra == "rabbitmq":
        from worker.brokers.rabbitmq import rabbit_work_queue  # noqa: PLC0415 - see above

        return rabbit_work_queue(address, consumer, fence)
    if address.extra == "nats":
        from worker.brokers.nats_jetstream import nats_work_queue  # noqa: PLC0415 - see above

        return nats_work_queue(address, fence, lease_s=lease_s)
    if address.extra == "sqs":
        from worker.brokers.sqs import sqs_work_queue  # noqa: PLC0415 - see above

        return sqs_work_queue(address, fence, lease_s=lease_s)
    from worker.brokers.redis_streams import RedisWorkQueue  # noqa: PLC0415 - see above

    return RedisWorkQueue.connect(address, consumer, lease_s=lease_s)
