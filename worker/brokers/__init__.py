"""Message brokers: each speaks its own protocol and gives the same queues."""

from __future__ import annotations

from worker.brokers.address import QueueAddress
from worker.brokers.opening import open_fleet_store, open_queue

__all__ = ["QueueAddress", "open_fleet_store", "open_queue"]
