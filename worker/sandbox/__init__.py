"""The sandbox: a stand-in for a tenant, with trouble on demand and a record of what it received."""

from worker.sandbox.options import Limit, Outage, SandboxOptions, Trouble
from worker.sandbox.server import Sandbox

__all__ = ["Limit", "Outage", "Sandbox", "SandboxOptions", "Trouble"]
