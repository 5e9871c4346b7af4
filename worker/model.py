"""The words everything else is said in: rows, calls, replies, verdicts and outcomes. Values only, no I/O.

They are msgspec structs, as several are made for each row: one costs a tenth of what a frozen dataclass does.
What each row passes keeps an enumeration's members in names of its own: CPython 3.11 looks them up in Python.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec


class Outcome(enum.StrEnum):
    """The closed set of what can become of a row; the same words in code, report, metrics and docs."""

    SUCCEEDED = "succeeded"
    UNCONFIRMED = "unconfirmed"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    EXHAUSTED = "exhausted"
    INVALID = "invalid"
    DUPLICATE = "duplicate"
    EXCLUDED = "excluded"
    PENDING = "pending"

    __hash__ = str.__hash__  # of the text, as they are equal to it; the one of `Enum` is written in Python


FAILURES: Final = frozenset({Outcome.UNCONFIRMED, Outcome.NOT_FOUND, Outcome.REFUSED, Outcome.EXHAUSTED})
"""Outcomes of rows that were called and did not succeed: what `--max-failures` counts."""

RETRYABLE: Final = frozenset({Outcome.EXHAUSTED, Outcome.UNCONFIRMED, Outcome.REFUSED})
"""What `retry` sends again unless told otherwise."""

REPORT_COLUMNS: Final = (
    "_row",
    "_outcome",
    "_http_status",
    "_error_code",
    "_error_message",
    "_attempts",
    "_started_at",
    "_finished_at",
    "_duration_ms",
    "_sent",
    "_resent",
    "_verified_contacts_left",
    "_lockout_risk",
    "_duplicate_of",
    "_run_id",
)
"""The columns that a report adds after the input's own."""


BROKEN_ROWS: Final = frozenset(
    {
        "wrong_column_count",
        "broken_quoting",
        "undecodable",
        "not_text",
        "not_whole",
        "imprecise_number",
        "formula",
        "not_an_object",
        "repeated_key",
    }
)
"""Error codes of rows whose cells are not what the input's row was, but may look sound in a report."""

BROKEN_ROW: Final = "_broken_row"
"""The column of `failed.csv` that holds what was read of such a row: a JSON array of its cells."""


class RunState(enum.StrEnum):
    """Where a run stands. `RUNNING` with nobody holding the run's lock means that it was killed."""

    PLANNED = "planned"
    RUNNING = "running"
    FINISHED = "finished"
    HALTED = "halted"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


class InputRow(msgspec.Struct, frozen=True, gc=False):
    """One row as it was read from the input, fit to be planned or not.

    Attributes:
        number: Position among the input's rows, from 1; the row's name for the whole run.
        line: Line of the input where the row starts, from 1 (the header counts).
        user_id: As read, never trimmed; empty where it is missing.
        identifier_id: As read, never trimmed; empty where it is missing.
        cells: Every cell as read, in the input's order. A row with too few or too many keeps what it has.
        error_code: Why the row is invalid, as a short word; empty for a good row.
        error_message: The same as a sentence that names the field; empty for a good row.
    """

    number: int
    line: int
    user_id: str
    identifier_id: str
    cells: list[str]
    error_code: str = ""
    error_message: str = ""


class Owed(enum.IntEnum):
    """What a row's last attempt costs it, once another row was answered since (promise 7)."""

    NOTHING = 0
    REFUSAL = 1
    """It was refused, as any row may be: five of these make a row sick."""
    ATTEMPT = 2


class Effort(msgspec.Struct, frozen=True, gc=False):
    """What the attempts on a row left behind that has no outcome yet.

    Attributes:
        tries: Attempts that brought no final answer, charged or not: the back-off grows with them.
        attempts: Attempts that were charged.
        charged_s: Seconds that were charged.
        refusals: How often it was refused while others were answered.
        doubtful: Whether one of the attempts may have been carried out.
        started_at: Epoch seconds when this session took the row up.
        wait_s: Seconds that it waits before it goes again.
        answered: How many rows had a final answer when its last attempt failed; -1 in another session.
        owed: What that attempt costs if another row was answered since.
        owed_s: Seconds that it costs then.
        free: Whether it cost nothing, and the next such one does.
        status: HTTP status of that attempt, or None without an answer.
        error_code: Its short machine word.
        error_message: Its line for people.
    """

    tries: int = 0
    attempts: int = 0
    charged_s: float = 0.0
    refusals: int = 0
    doubtful: bool = False
    started_at: float = 0.0
    wait_s: float = 0.0
    answered: int = -1
    owed: Owed = Owed.NOTHING
    owed_s: float = 0.0
    free: bool = False
    status: int | None = None
    error_code: str = ""
    error_message: str = ""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row to call, claimed from a source.

    Attributes:
        number: The row's name within its run, from 1.
        user_id: The user's id, unescaped.
        identifier_id: The e-mail's (or phone's) id, unescaped.
        earlier_requests: Requests sent for this row in earlier sessions that ended without an outcome.
        maybe_sent: A killed session had claimed this row, so its call may have been made already.
        resent: It may have been, and has been sent again since.
        traceparent: What the row is a part of (W3C Trace Context), or empty.
        effort: What its attempts so far left behind; None if none ended without an outcome.
    """

    number: int
    user_id: str
    identifier_id: str
    earlier_requests: int = 0
    maybe_sent: bool = False
    resent: bool = False
    traceparent: str = ""
    effort: Effort | None = None


class Call(msgspec.Struct, frozen=True, gc=False):
    """A request that a row becomes, or one that is about no row.

    Attributes:
        method: HTTP method in capitals.
        path: Path below the API's base, percent-encoded, without a leading slash, for example
            `users/abc/emails/def/unverify`.
        body: JSON body, or None for none.
        traceparent: What the call is a part of (W3C Trace Context), or empty.
    """

    method: str
    path: str
    body: bytes | None = None
    traceparent: str = ""


class Trouble(enum.StrEnum):
    """Why a request got no answer."""

    CONNECT = "connect"
    """No connection: refused, unreachable, reset before the request was written."""
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    """The connection broke after the request was written and before the answer's head was read."""
    UNKNOWN_HOST = "unknown_host"
    CERTIFICATE = "certificate"
    PROXY = "proxy"
    """The proxy answered that it does not connect us: a wrong password, or a host that it may not reach."""
    PROTOCOL = "protocol"
    """What came back was not HTTP."""


class Damage(enum.StrEnum):
    """What is wrong with an answer's body."""

    NONE = ""
    OVERSIZED = "oversized"
    TRUNCATED = "truncated"
    ENCODED = "encoded"
    """Compressed although the request asked for plain."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """An HTTP answer whose head was read; `body` holds at most the transport's limit of bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    damage: Damage = Damage.NONE


class NoAnswer(msgspec.Struct, frozen=True, gc=False):
    """A request without an answer.

    Attributes:
        trouble: The kind.
        detail: One line for people; holds no header, no key and no identifier.
        sent: Whether any byte of the request may have left: then the server may have acted on it.
        stale: Whether a kept connection turned out to be closed when it was used again, before any byte of an
            answer: a matter of the connection, not of the row, which goes again on a new one at no cost.
    """

    trouble: Trouble
    detail: str
    sent: bool
    stale: bool = False


Reply = Answer | NoAnswer


class Decision(enum.Enum):
    """What a reply means for the row's next step."""

    FINAL = enum.auto()
    """The verdict's outcome stands."""
    RETRY = enum.auto()
    """A transient error: try again; the verdict's outcome stands once the attempts are spent."""
    THROTTLED = enum.auto()
    """429, or held up before it was sent: the row goes again at another turn, at no cost to its attempts."""
    HALT = enum.auto()
    """The run is wrong (401, 402, redirect): stop it; the row stays pending."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What a reply means for its row.

    Attributes:
        decision: The next step.
        outcome: The outcome if final; else (`RETRY`, `THROTTLED`) the one once attempts or time are spent.
        status: HTTP status, or None without an answer.
        error_code: Short machine word (a problem's code, `http_503`, `timeout`); empty on success.
        error_message: One line for people; empty on success.
        verified_contacts_left: Verified e-mails and phones the user still has, or None if unknown.
        lockout_risk: Whether the user may now have no way to sign in or recover, or None if unknown.
        foreign: Whether the answer is not the API's own (promise 12), nor any of which that does not matter
            (5xx, 408, 425, 429): something in front of the tenant gave it.
    """

    decision: Decision
    outcome: Outcome
    status: int | None = None
    error_code: str = ""
    error_message: str = ""
    verified_contacts_left: int | None = None
    lockout_risk: bool | None = None
    foreign: bool = False


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """What a pacer is told of a call beside its reply.

    Attributes:
        row: Whose it was; 0 for nobody's.
        verdict: What the reply means for the row.
        took_s: Seconds from the turn to the reply.
        sick: Whether the row was refused so often while others passed that it says nothing of the tenant.
        pending: How many rows have no outcome.
    """

    row: int
    verdict: Verdict
    took_s: float = 0.0
    sick: bool = False
    pending: int = 0


BARRED: Final = Verdict(
    Decision.FINAL,
    Outcome.EXCLUDED,
    error_code="protected",
    error_message="on the protected list since after the plan",
)
"""The verdict on a row that came onto the protected list after the plan (promise 11)."""


ANOTHER_USER: Final = "another_user"
"""Error code of an answer that shows another user than the row's: it may belong to another call."""
HELD_UP: Final = Verdict(
    Decision.THROTTLED,
    Outcome.EXHAUSTED,
    error_code=Trouble.CONNECT,
    error_message="not sent: the connection took so long that the row needed another turn",
)
"""The verdict on a row whose first turn was over before there was a connection (promise 4)."""


class Result(msgspec.Struct, frozen=True, gc=False):
    """A row's outcome with its evidence: what the ledger records, once.

    Attributes:
        row: The row.
        verdict: The last verdict; its `outcome` is the row's outcome.
        requests: Requests sent for this row over all sessions (earlier ones included).
        sent: Whether a request of this session may have reached the server.
        started_at: Epoch seconds when this session took the row up.
        finished_at: Epoch seconds when the outcome was known.
    """

    row: Row
    verdict: Verdict
    requests: int
    sent: bool
    started_at: float
    finished_at: float


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A message that was taken from a queue.

    Attributes:
        name: The broker's name for the message, the same whenever it is delivered again.
        body: What the producer sent.
        times: How often it has been delivered by now, this time included; what was given back does not count.
        receipt: What the broker knows this delivery by.
    """

    name: str
    body: bytes
    times: int = 1
    receipt: object = None


class Finding(msgspec.Struct, frozen=True, gc=False):
    """A row's outcome on its way to the results queue.

    Attributes:
        batch: First half of the name by which a fleet remembers the row: its batch with what is done to whom,
            or the broker's name for its message.
        index: Second half: its number within the batch, from 0.
        body: The result as it is sent; empty if it is kept elsewhere, and only remembered that it is known.
    """

    batch: str
    index: int
    body: bytes


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """What became of a delivery so far.

    Attributes:
        delivery: The delivery.
        findings: Outcomes that are not recorded yet.
        complete: Whether these are the last ones: once they are recorded, the message is acknowledged.
        fenced: Whether each row is remembered, because its message, or its batch, may come again.
        reply_to: Whose results the outcomes go to; empty for the queue's own.
    """

    delivery: Delivery
    findings: list[Finding]
    complete: bool
    fenced: bool
    reply_to: str = ""


class Depth(msgspec.Struct, frozen=True, gc=False):
    """How much a queue holds.

    Attributes:
        waiting: Messages that nobody has taken.
        taken: Messages that were taken and are not acknowledged.
    """

    waiting: int
    taken: int


class Unfinished(msgspec.Struct, frozen=True, gc=False):
    """A claimed row that goes back to pending, with what is known of it.

    Attributes:
        row: The row as it was claimed.
        requests: Requests sent for it over all sessions.
        effort: What its attempts left behind by now; None if none ended without an outcome.
    """

    row: Row
    requests: int
    effort: Effort | None = None
