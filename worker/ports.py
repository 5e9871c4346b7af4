"""The seams of the engine: what the pipeline asks of its surroundings. Adapters live by their technology."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from worker.model import (
    Attempt,
    Call,
    Delivery,
    Depth,
    Reply,
    Result,
    Row,
    Settlement,
    Unfinished,
    Verdict,
)
from worker.sharing import Ask, Grant


class Operation(Protocol):
    """What is done to a row. Pure: a value in, a value out."""

    @property
    def name(self) -> str:
        """The operation's name on the command line and in the ledger, for example `unverify-email`."""

    @property
    def idempotent(self) -> bool:
        """Whether doing it twice is as good as once: else an attempt that may have worked is not made again."""

    def call(self, row: Row) -> Call:
        """Return the request that does it to `row`."""

    def judge(self, row: Row, reply: Reply) -> Verdict:
        """Return what `reply` means for `row`. Never raises, whatever the reply holds."""


class Transport(Protocol):
    """Sends requests. Errors are values: `send` raises nothing but `asyncio.CancelledError`."""

    async def send(self, call: Call, *, however_late: bool = False) -> Reply | None:
        """Send `call` once, without retry or redirect, within the time limit, and return what came back.

        None if its connection took so long that the call needs another turn, unless it is to go `however_late`:
        nothing was sent.
        """

    def distrust(self) -> None:
        """Use no connection again that is idle now: answers on it may belong to other calls than they seem to."""


class Source(Protocol):
    """Where rows to call come from: those that were never tried, and those that waited and may go again."""

    async def claim(self, limit: int) -> Sequence[Row]:
        """Return up to `limit` rows, claimed durably before they are returned; empty when none may go now.

        Raises:
            LedgerError: The claim could not be made durable.
        """

    async def more(self) -> bool:
        """Wait until something has changed, so that `claim` may have rows; False if it never will, or once closed."""

    async def claim_elsewhere(self) -> Row | None:
        """Claim one row that has not failed, drawn at random; None where there is none.

        Raises:
            LedgerError: The claim could not be made durable.
        """

    def allows(self, row: Row) -> bool:
        """Return whether a claimed `row` may be called still: the protected list may have grown since."""

    @property
    def pending(self) -> int:
        """How many rows have no outcome, as far as is known; those that are being called among them."""

    @property
    def failed(self) -> int:
        """How many of these were tried and have to go again."""

    def close(self) -> None:
        """Have no more rows: whoever waits for some is told."""


class Recorder(Protocol):
    """Where outcomes are made durable. Each row's outcome is recorded exactly once."""

    def record(self, result: Result) -> None:
        """Take `result` for the next group commit; does not wait. Order of calls is kept."""

    def give_back(self, rows: Sequence[Unfinished]) -> None:
        """Put claimed rows back to pending in the next group commit; does not wait.

        One that has an effort by now goes again after its wait.
        """

    async def room(self) -> None:
        """Wait until no result has been waiting to be durable for more than 50 ms (promise 3).

        Raises:
            LedgerError: A commit failed; nothing more will be recorded.
        """

    async def flush(self) -> None:
        """Wait until everything handed over before this call is durable.

        Raises:
            LedgerError: A commit failed; nothing more will be recorded.
        """


class Pacer(Protocol):
    """Rate, concurrency, cool-down and adaptation in one object."""

    async def enter(self) -> bool:
        """Wait for a turn: a concurrency slot and a token of the rate. False when the pacer was closed."""

    def leave(self, reply: Reply | None, attempt: Attempt | None = None) -> bool:
        """Give the slot of one `enter` back and learn from what came back; None if nothing was sent.

        Returns whether it is taken for a limiter's refusal, which may hit any row and costs this one nothing.
        """

    def pass_on(self) -> None:
        """Give the turn of an `enter` that has just returned to the next in line: there is nothing to call."""

    def close(self) -> None:
        """Give nobody a turn any more: every waiting and every later `enter` returns False."""

    @property
    def in_outage(self) -> bool:
        """Whether the server is taken to be out."""

    @property
    def answered(self) -> int:
        """How many rows have got a final answer, as far as is known: those of a whole fleet, where one is shared."""

    @property
    def troubled(self) -> int:
        """Attempts that met trouble since the last final answer."""

    def was_out(self, answered: int) -> bool:
        """Return whether the silence that followed so many final answers was, or is, an outage."""


class Queue(Protocol):
    """A queue of a broker. It delivers at least once, and from the first message that was ever published.

    Everything raises `BrokerError` while the broker cannot be reached; nothing is lost by that.
    """

    @property
    def lease_s(self) -> float:
        """Seconds after which a delivery that was not extended goes to another worker."""

    @property
    def extends(self) -> bool:
        """Whether `extend` begins leases anew; if not, no more may be taken than is done within one."""

    @property
    def most_bytes(self) -> int:
        """Bytes that one message may have."""

    async def publish(self, bodies: Sequence[bytes]) -> None:
        """Publish messages in their order; on return the broker has confirmed them."""

    async def receive(self, limit: int, wait_s: float) -> Sequence[Delivery]:
        """Take up to `limit` messages; waits for the first one, for `wait_s` seconds at most."""

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Begin the lease of deliveries anew, of those that are still ours."""

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages for good, of those that are still ours."""

    async def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let others have deliveries at once; this does not count as one more try."""

    async def depth(self) -> Depth:
        """Return how much the queue holds."""

    async def remove(self) -> None:
        """Remove the queue for good, with what it holds; nothing happens if it is not there."""

    async def aclose(self) -> None:
        """Close the connection; what is taken and not acknowledged goes to others after its lease."""


class WorkQueue(Queue, Protocol):
    """The queue of the work to do, with its queue of results and its dead letters."""

    def results(self, reply_to: str = "") -> Queue:
        """Return the queue that outcomes go to: one of its own for each `reply_to`, which the messages name.

        The work queue closes it; whoever asked for it with a name removes it once it is not needed any more.
        """

    @property
    def dead(self) -> Queue:
        """Where messages go that nobody can work on."""

    async def known(self, rows: Mapping[str, Iterable[int]]) -> Mapping[str, frozenset[int]]:
        """Return which of `rows` (indexes by batch) have an outcome already, as far as the broker keeps that."""

    async def settle(self, settlements: Sequence[Settlement]) -> AbstractSet[str]:
        """Record outcomes and acknowledge what is complete, in this order; a stale delivery changes nothing.

        Returns the names of those deliveries of which nothing was recorded, as they are not ours any more.
        """

    async def bury(self, delivery: Delivery, letter: bytes) -> None:
        """Put `letter` into the dead letters and remove the message it tells of."""


class RowCount(Protocol):
    """Counts a queue's rows of the last hour."""

    async def count(self, rows: int, most: int) -> float:
        """Count `rows` and return 0, or return in how many seconds to ask again: the hour would have over `most`.

        Raises:
            BrokerError: It is out of reach; the rows are not counted, or the answer was lost.
        """


class FleetStore(Protocol):
    """Where the workers of a fleet keep their one rate. Everything raises `BrokerError` while it is out of reach."""

    async def reserve(self, ask: Ask) -> Grant:
        """Tell the others what `ask` holds, and reserve the slots that it asks for; in one step."""

    async def leave(self, worker: str) -> None:
        """Say that a worker goes: the others have its share at once."""

    def row_count(self, queue: str) -> RowCount:
        """Return what counts the rows of `queue` for all workers together."""

    async def aclose(self) -> None:
        """Close the connection."""
