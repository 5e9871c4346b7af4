"""HTTP to the tenant."""

from worker.transport.malloc import prime_malloc
from worker.transport.transport import AiohttpTransport

__all__ = ["AiohttpTransport", "prime_malloc"]
