"""Message brokers: each speaks its own protocol and gives the same queues."""

from __future__ import annotations

from worker.brokers.address import QueueAddress

__all__ = ["QueueAddress"]
