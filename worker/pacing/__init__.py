"""How fast, how many at once, when to wait and when to go on."""

from worker.pacing.fleet import FleetRate
from worker.pacing.headers import retry_after_s
from worker.pacing.link import FleetLink
from worker.pacing.pacer import AsyncPacer, PaceStatus
from worker.pacing.plan import RatePlan, parse_rate

__all__ = [
    "AsyncPacer",
    "FleetLink",
    "FleetRate",
    "PaceStatus",
    "RatePlan",
    "parse_rate",
    "retry_after_s",
]
