"""What a person may set for a run, validated once at the edge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.errors import UsageError
from worker.model import Outcome
from worker.pacing.plan import RatePlan
from worker.units import exact_duration, format_duration

NOT_THE_CALLERS: Final = (
    "max_failures",
    "accept",
    "outage_patience",
    "deadline",
    "exclude",
    "reason",
)
"""What steers a run though others call its rows; all else is theirs."""


class Steering(BaseModel):
    """What steers a session; it may change from session to session of the same run.

    Attributes:
        rate: The ceiling and whether to adapt below it.
        concurrency: Most calls in flight.
        attempts: Attempts of one row that may end in a transient error.
        row_time_limit_s: Seconds after which a row is not tried again; outages and pauses not counted.
        timeout_s: Seconds that one call may take.
        max_failures: Largest tolerated share of failed rows, 0 to 1.
        accept: Outcomes that count neither as failures nor for the exit code.
        outage_patience_s: Seconds that an outage may last before the run halts.
        deadline_s: Seconds that the session may last, or None.
        ca_bundle: Certificates to trust instead of the system's, or None.
        exclude: The protected list, or None.
        share_tenant: Whether another run may call the same tenant from this machine.
        reason: Why the run is done (a ticket).
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False)

    rate: RatePlan
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 32
    attempts: Annotated[int, Field(ge=1, le=100)] = 5
    row_time_limit_s: Annotated[float, Field(gt=0)] = 900.0
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    max_failures: Annotated[float, Field(ge=0, le=1)] = 0.2
    accept: frozenset[Outcome] = frozenset()
    outage_patience_s: Annotated[float, Field(ge=0)] = 900.0
    deadline_s: Annotated[float, Field(gt=0)] | None = None
    ca_bundle: Path | None = None
    exclude: Path | None = None
    share_tenant: bool = False
    reason: str = ""

    def as_text(self, via: str = "") -> dict[str, str]:
        """Return the settings by name, for the ledger's record of a session.

        Of one whose rows the workers of the queue `via` call, those that are not the workers' own.
        """
        deadline = "none" if self.deadline_s is None else format_duration(self.deadline_s)
        settings = {
            "rate": str(self.rate),
            "concurrency": str(self.concurrency),
            "attempts": str(self.attempts),
            "row_time_limit": format_duration(self.row_time_limit_s),
            "timeout": format_duration(self.timeout_s),
            "max_failures": f"{self.max_failures:.4g}",
            "accept": ",".join(sorted(self.accept)),
            "outage_patience": format_duration(self.outage_patience_s),
            "deadline": deadline,
            "exclude": "" if self.exclude is None else self.exclude.name,
            "share_tenant": str(self.share_tenant).lower(),
            "reason": self.reason,
        }
        return {name: settings[name] for name in NOT_THE_CALLERS} | {"via": via} if via else settings

    def as_kept(self, via: str = "") -> dict[str, str]:
        """Return the settings by name as the next session can go on with them: as `as_text`, to the millisecond."""
        settings = self.as_text(via)
        exact = {
            "row_time_limit": exact_duration(self.row_time_limit_s),
            "timeout": exact_duration(self.timeout_s),
            "max_failures": f"{self.max_failures:.12g}",
            "outage_patience": exact_duration(self.outage_patience_s),
            "deadline": "none" if self.deadline_s is None else exact_duration(self.deadline_s),
        }
        settings |= {name: text for name, text in exact.items() if name in settings}
        return (
            settings if self.ca_bundle is None else settings | {"ca_bundle": str(self.ca_bundle.absolute())}
        )


def steering(**values: object) -> Steering:
    """Return the validated settings.

    Raises:
        UsageError: A value is out of its range; the message names the flag.
    """
    try:
        return Steering.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][0]).removesuffix("_s").replace("_", "-")
        raise UsageError(f"{flag}: {first['msg']} (got {first['input']!r}).") from error


def parse_outcomes(text: str, *, allowed: frozenset[Outcome], flag: str) -> frozenset[Outcome]:
    """Return the outcomes named in `text`, separated by commas.

    Raises:
        UsageError: A name is no outcome, or not one that `flag` takes.
    """
    names = {name.strip().lower() for name in text.split(",") if name.strip()}
    unknown = sorted(names - set(allowed))
    if unknown or not names:
        wrong = ", ".join(unknown) or "nothing"
        raise UsageError(f"{flag} takes {', '.join(sorted(allowed))}, separated by commas; not {wrong}.")
    return frozenset(Outcome(name) for name in names)
