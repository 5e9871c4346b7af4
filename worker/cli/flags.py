"""The flags that several commands share, each described once. Names are a contract: add, never rename."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

UserColumn = Annotated[
    str | None, typer.Option("--user-column", help="Header name or position of the user id's column.")
]
IdentifierColumn = Annotated[
    str | None,
    typer.Option("--identifier-column", help="Header name or position of the identifier id's column."),
]
NoHeader = Annotated[bool, typer.Option("--no-header", help="The file's first line is a row.")]
Delimiter = Annotated[
    str | None, typer.Option("--delimiter", help="`,` `;` `|` or `tab`; found by itself otherwise.")
]
Quoting = Annotated[
    str | None,
    typer.Option(
        "--quoting",
        help="rfc4180 (quotes are sound), none, or backslash; found by itself where the file leaves no doubt.",
    ),
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help="For example latin-1; otherwise UTF-8, or what a BOM says.")
]
MaxRows = Annotated[
    int | None, typer.Option("--max-rows", min=0, help="Refuse a file that has more rows than this.")
]
Operation = Annotated[
    str | None,
    typer.Option("--operation", help="unverify-email (a new plan's default), or verify-email to undo it."),
]
Tenant = Annotated[
    str | None,
    typer.Option("--tenant", help="The tenant's domain; otherwise MONOCLOUD_MANAGEMENT_DOMAIN."),
]
Runs = Annotated[Path, typer.Option("--runs", help="The folder that holds one folder a run.")]
Again = Annotated[
    bool, typer.Option("--again", help="Make a new run, although one of the same input exists.")
]
Rate = Annotated[
    str | None,
    typer.Option(
        "--rate",
        help="50/s, 3000/m, auto (find the server's limit) or unlimited.",
        show_default="25/s, or as before",
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", help="Most calls in flight, 1 to 1000.", show_default="32, or as before"),
]
Attempts = Annotated[
    int | None,
    typer.Option(
        "--attempts",
        help="Attempts of one row that may end in a transient error.",
        show_default="5, or as before",
    ),
]
RowTimeLimit = Annotated[
    str | None,
    typer.Option(
        "--row-time-limit",
        help="A row is not tried again after this; outages not counted.",
        show_default="15m, or as before",
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", help="Time limit of one call; otherwise MONOCLOUD_MANAGEMENT_TIMEOUT, or 10s."),
]
MaxFailures = Annotated[
    str | None,
    typer.Option(
        "--max-failures",
        help="Halt when more of the session's rows fail (from 50 on), or of its last 500.",
        show_default="20%, or as before",
    ),
]
Accept = Annotated[
    str | None,
    typer.Option("--accept", help="Outcomes that are no failures, for example not_found; or none."),
]
OutagePatience = Annotated[
    str | None,
    typer.Option(
        "--outage-patience",
        help="Halt when no row got a final answer for this long.",
        show_default="15m, or as before",
    ),
]
Deadline = Annotated[
    str | None, typer.Option("--deadline", help="Halt (resumable) after this long, for example 2h; or none.")
]
CaBundle = Annotated[
    Path | None, typer.Option("--ca-bundle", help="PEM file of the certificates to trust instead; or none.")
]
Exclude = Annotated[
    Path | None,
    typer.Option("--exclude", help="The protected list: ids that are never called, one a line or a CSV."),
]
ShareTenant = Annotated[
    bool,
    typer.Option("--share-tenant", help="Allow another run on this tenant at once; each keeps its own rate."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why this is done (a ticket); kept as evidence.")]
ViaQueue = Annotated[
    str | None,
    typer.Option(
        "--via",
        metavar="URL",
        help="Have the workers of this queue call; `queue` for the one in BULK_UNVERIFY_QUEUE, with its password.",
    ),
]
SigningKey = Annotated[
    Path | None, typer.Option("--signing-key", help="File of the key that signs messages (HMAC-SHA256).")
]
RowsPerMessage = Annotated[
    int, typer.Option("--rows-per-message", min=1, max=1000, help="Rows in one message.")
]
Lease = Annotated[
    str,
    typer.Option("--lease", help="Silence after which a worker's messages go to others; the same for all."),
]
Recall = Annotated[
    bool,
    typer.Option(
        "--recall",
        help="Have rows called by others that are with a queue's workers; what these did may be done twice.",
    ),
]
MinRows = Annotated[
    int,
    typer.Option(
        "--min-rows", min=0, help="Refuse a run that has fewer rows to call; 0 makes an empty one a success."
    ),
]
Moved = Annotated[
    bool, typer.Option("--moved", help="The run's folder was moved here, and is worked on nowhere else.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Take no input that is warned of: exit 2, nothing planned or sent.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask. Required where there is no terminal.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the summary as one JSON object on standard output.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Plan, show the first calls, send nothing; `run` takes this plan.")
]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How an input is read: what selects rows, bound to the run."""

    user_column: UserColumn = None
    identifier_column: IdentifierColumn = None
    no_header: NoHeader = False
    delimiter: Delimiter = None
    quoting: Quoting = None
    encoding: Encoding = None
    max_rows: MaxRows = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Calling:
    """How rows are called, wherever they come from; None where nothing was said."""

    rate: Rate = None
    concurrency: Concurrency = None
    attempts: Attempts = None
    row_time_limit: RowTimeLimit = None
    timeout: Timeout = None
    max_failures: MaxFailures = None
    accept: Accept = None
    outage_patience: OutagePatience = None
    ca_bundle: CaBundle = None
    exclude: Exclude = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Steering(Calling):
    """What steers a session of a run: it may change from one to the next."""

    deadline: Deadline = None
    share_tenant: ShareTenant = False
    reason: Reason = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Who calls: this process, or the workers of a queue."""

    via: ViaQueue = None
    signing_key: SigningKey = None
    rows_per_message: RowsPerMessage = 100
    lease: Lease = "30s"
    recall: Recall = False
