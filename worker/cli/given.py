"""From flags to what the composition takes: each is checked here, where somebody reads the message."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from worker.cli import flags
from worker.cli.grouped import as_words

if TYPE_CHECKING:
    from worker.brokers import QueueAddress
    from worker.compose.engine import Via
    from worker.compose.options import Steering
    from worker.compose.sticking import Setting
    from worker.intake import InputOptions
    from worker.ledger import RunFolder

QUEUE: Final = "BULK_UNVERIFY_QUEUE"
FENCE: Final = "BULK_UNVERIFY_FENCE"
SHARED_RATE: Final = "BULK_UNVERIFY_SHARED_RATE"
_NOTHING: Final = "none"


def input_options(reading: flags.Reading) -> InputOptions:
    """Return how to read an input, as the flags say."""
    from worker.intake import InputOptions

    return InputOptions(
        reading.user_column,
        reading.identifier_column,
        not reading.no_header,
        reading.delimiter,
        reading.encoding,
        max_rows=reading.max_rows,
        quoting=reading.quoting,
    )


def settings(given: flags.Calling) -> Steering:
    """Return the settings that the flags give; those of a session are at their defaults where there is no run.

    Raises:
        UsageError: One of them is out of its range, or cannot be read.
    """
    from worker.compose.options import parse_outcomes, steering
    from worker.compose.sticking import NOTHING, settle
    from worker.connection import default_timeout_s
    from worker.model import FAILURES
    from worker.pacing import parse_rate
    from worker.units import parse_duration_s, parse_share

    said = {each.name: each.text for each in settle(_said(given), ())}
    bundle = None if said["ca_bundle"] == NOTHING else Path(said["ca_bundle"])
    if bundle is not None:
        from worker.transport import trusted_by

        trusted_by(bundle)  # read here, so that a wrong one is said before anything else is done
    of_session: dict[str, object] = {}
    if isinstance(given, flags.Steering):
        of_session = {
            "deadline_s": None if said["deadline"] == NOTHING else parse_duration_s(said["deadline"]),
            "share_tenant": given.share_tenant,
            "reason": given.reason,
        }
    accept = said["accept"]
    return steering(
        rate=parse_rate(said["rate"]),
        concurrency=int(said["concurrency"]),
        attempts=int(said["attempts"]),
        row_time_limit_s=parse_duration_s(said["row_time_limit"]),
        timeout_s=default_timeout_s() if given.timeout is None else parse_duration_s(given.timeout),
        max_failures=parse_share(said["max_failures"]),
        accept=frozenset()
        if accept in ("", NOTHING)
        else parse_outcomes(accept, allowed=FAILURES, flag="--accept"),
        outage_patience_s=parse_duration_s(said["outage_patience"]),
        ca_bundle=bundle,
        exclude=given.exclude,
        **of_session,
    )


def sticking(given: flags.Steering, folder: RunFolder) -> tuple[Steering, list[Setting]]:
    """Return what steers the next session of a run, and of each setting where it comes from.

    Raises:
        UsageError: One of them is out of its range, or cannot be read.
        LedgerError: The ledger cannot be read.
    """
    from worker.compose.sticking import settle
    from worker.ledger import facts

    settled = settle(_said(given), facts(folder).sessions)
    kept: dict[str, Any] = {each.name: each.text for each in settled if each.source}
    for name in ("concurrency", "attempts"):
        kept |= {name: int(kept[name])} if name in kept else {}
    if "ca_bundle" in kept:
        kept["ca_bundle"] = Path(kept["ca_bundle"])
    return settings(dataclasses.replace(given, **kept)), settled


def unlike_default(given: flags.Steering) -> flags.Steering:
    """Return the flags without those that say what holds anyhow for a new run."""
    from worker.compose.sticking import DEFAULTS

    same: dict[str, Any] = {
        name: None for name, value in _said(given).items() if str(value) == DEFAULTS[name]
    }
    return dataclasses.replace(given, **same)


def _said(given: flags.Calling) -> dict[str, object]:
    """Return what was said of what sticks."""
    from worker.compose.sticking import DEFAULTS

    return {name: getattr(given, name, None) for name in DEFAULTS}


def address(given: str | None, flag: str = "--queue") -> QueueAddress:
    """Return a queue's address; a password in an argument would be visible to everybody.

    Raises:
        UsageError: There is none, or it holds a password.
    """
    from worker.errors import UsageError

    if given is None:
        given = os.environ.get(QUEUE, "")
        if not given:
            raise UsageError(f"Which queue? Give {flag} or set {QUEUE}.")
        return _parsed(given, QUEUE)
    found = _parsed(given, flag)
    if found.has_password:
        raise UsageError(
            f"{flag} holds a password, which everybody can see: set {QUEUE} to that URL instead"
            f"{' and give --via queue' if flag == '--via' else ''}."
        )
    return found


@contextlib.contextmanager
def naming(queue: QueueAddress) -> Iterator[None]:
    """Let a broker's error say where the queue is, and what to do.

    Raises:
        BrokerError: With that.
    """
    from worker.errors import BrokerError

    try:
        yield
    except BrokerError as error:
        raise type(error)(
            f"{error} The queue is {queue}. Once it can be used, run the same command again."
        ) from None


def fence(given: str | None) -> QueueAddress | None:
    """Return the Redis that remembers rows, or None.

    Raises:
        UsageError: It is none, or it holds a password and was given as an argument.
    """
    named = os.environ.get(FENCE, "") if given is None else given
    return _redis(named, "--fence", ".", None if given is None else FENCE) if named else None


def shared_store(given: str | None, queue: QueueAddress) -> QueueAddress | None:
    """Return the Redis in which a fleet keeps its rate: the one that is named, else the queue's own if it is one.

    Raises:
        UsageError: It is none, or it holds a password and was given as an argument.
    """
    named = os.environ.get(SHARED_RATE, "") if given is None else given
    if not named:
        return queue if queue.is_redis else None
    if named == _NOTHING:
        return None
    otherwise = f", or {_NOTHING}: each worker keeps --rate / --workers."
    return _redis(named, "--shared-rate", otherwise, None if given is None else SHARED_RATE)


def _redis(url: str, flag: str, otherwise: str, instead: str | None) -> QueueAddress:
    """Return the Redis at `url`; `instead` is the variable for one with a password, where that was an argument."""
    from worker.errors import UsageError

    if not url.startswith(("redis://", "rediss://")):
        raise UsageError(f"{flag} is the URL of a Redis, redis:// or rediss://{otherwise}")
    found = _parsed(url, flag)
    if instead is not None and found.has_password:
        raise UsageError(
            f"{flag} holds a password, which everybody can see: set {instead} to that URL instead."
        )
    return found


def _parsed(url: str, given_by: str) -> QueueAddress:
    """Return the address; what is wrong with it is said of what it was given by."""
    from worker.brokers import QueueAddress
    from worker.errors import UsageError

    try:
        return QueueAddress.parse(url)
    except UsageError as error:
        raise UsageError(str(error).replace("--queue", given_by)) from None


def via(fleet: flags.Fleet, steering: flags.Steering) -> Via | None:
    """Return the queue whose workers are to call, or None to call from here.

    Raises:
        UsageError: Something was given that has no meaning there.
    """
    from worker.compose.engine import Via
    from worker.compose.options import NOT_THE_CALLERS
    from worker.compose.signing import read_signing_key
    from worker.errors import UsageError
    from worker.units import parse_duration_s

    if fleet.via is None:
        if fleet.signing_key is not None:
            raise UsageError("--signing-key signs messages: it goes with --via.")
        return None
    theirs = [word for word in as_words(unlike_default(steering)) if word.startswith("--")]
    theirs = [word for word in theirs if word[2:].replace("-", "_") not in NOT_THE_CALLERS]
    if theirs:
        raise UsageError(
            f"With --via the workers call, each as it was started: {' and '.join(theirs)} would change nothing. Leave"
            " it out here, and give it to `bulk-unverify work`."
        )
    queue = address(None if fleet.via == "queue" else fleet.via, "--via")
    key = read_signing_key(fleet.signing_key)
    return Via(queue, key, fleet.rows_per_message, parse_duration_s(fleet.lease))
