"""HTTP to the tenant."""

from worker.transport.malloc import prime_malloc
from worker.transport.transport import AiohttpTransport, trusted_by

__all__ = ["AiohttpTransport", "prime_malloc", "trusted_by"]
