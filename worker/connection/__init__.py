"""Which tenant is called, and with which key."""

from worker.connection.key import ApiKey, load_key
from worker.connection.settings import TIMEOUT, default_timeout_s, load_tenant
from worker.connection.tenant import Tenant

__all__ = ["TIMEOUT", "ApiKey", "Tenant", "default_timeout_s", "load_key", "load_tenant"]
