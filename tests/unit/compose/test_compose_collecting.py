"""What is kept of a queue's outcomes is reported, also where two keep them at once."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from worker.brokers import QueueAddress
from worker.compose import collecting
from worker.compose.collecting import CollectedLedgers
from worker.model import Decision, Outcome, Result, Row, Verdict
from worker.queueing import Finder, Heading
from worker.queueing.findings import encode_finding


async def test_a_report_waits_for_the_one_that_another_collector_is_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledgers = CollectedLedgers(tmp_path, QueueAddress.parse("redis://host/0"))
    result = Result(Row(1, "u-1", "i-1"), Verdict(Decision.FINAL, Outcome.SUCCEEDED, 200), 1, True, 1.0, 2.0)
    await ledgers.keep([encode_finding(result, "b", 1, Heading("b", 1), Finder("w", "t", "unverify-email"))])
    [folder] = ledgers.added
    said: list[str] = []
    with contextlib.ExitStack() as other:
        other.enter_context(folder.lock())
        waits = time.sleep

        def sleep(wait_s: float) -> None:
            if wait_s == collecting._REPORT_AGAIN_S:  # the lock itself waits as well
                other.close()
            waits(0)

        monkeypatch.setattr(time, "sleep", sleep)
        [summary] = ledgers.report(said.append)
    assert (summary["rows"], said) == (1, [])
