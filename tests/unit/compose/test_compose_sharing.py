"""What a worker gets to keep a fleet's rate with, and that a defect there is no silence."""

from __future__ import annotations

import asyncio
from typing import Any, Never

import pytest

from worker.brokers import QueueAddress
from worker.compose import sharing
from worker.compose.options import steering
from worker.compose.sharing import Sharing, keep_together
from worker.errors import BrokerError
from worker.pacing import parse_rate
from worker.queueing import OwnRowCount
from worker.queueing.messages import PoisonError

SOMEWHERE = QueueAddress.parse("redis://127.0.0.1:1/0")


class BrokenStore:
    """A store whose library answers what nobody expected."""

    async def reserve(self, ask: object) -> Never:
        raise ValueError("a defect")

    async def leave(self, worker: str) -> None:
        """Do nothing."""

    def row_count(self, queue: str) -> OwnRowCount:
        return OwnRowCount()

    async def aclose(self) -> None:
        """Do nothing."""


def together(shared: Sharing, rate: str = "40/s") -> Any:
    return keep_together(shared, steering(rate=parse_rate(rate)), "t.example", "work", "w")


async def test_without_a_store_each_takes_its_part() -> None:
    async with together(Sharing(None, 4, 100)) as alone:
        assert alone.pacer.status().rate_per_s == 10.0
        alone.cap.check(25)
        with pytest.raises(PoisonError):
            alone.cap.check(26)
    async with together(Sharing(None, None, None)) as alone:
        assert alone.pacer.status().rate_per_s == 40.0
        assert alone.cap is None


@pytest.mark.parametrize(
    ("workers", "rate", "times"), [(None, "40/s", 1), (2, "40/s", 0), (None, "unlimited", 0)]
)
async def test_a_rate_that_each_keeps_by_itself_is_said(
    workers: int | None, rate: str, times: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async with together(Sharing(None, workers, None), rate):
        assert capsys.readouterr().err.count("rate_not_shared") == times


async def test_no_limit_needs_nobody_to_share_it() -> None:
    async with together(Sharing(SOMEWHERE, 2, 100), "unlimited") as unlimited:
        assert await unlimited.pacer.enter()
        assert unlimited.pacer.status().rate_per_s is None


async def test_who_does_not_know_how_many_there_are_needs_the_store_at_the_start() -> None:
    with pytest.raises(BrokerError, match=r"Redis cannot be used .* With --workers N"):
        async with together(Sharing(SOMEWHERE, None, None)):
            pytest.fail("it began without")


async def test_a_defect_of_the_link_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "open_fleet_store", lambda *_: BrokenStore())
    with pytest.raises(ValueError, match="a defect"):
        async with together(Sharing(SOMEWHERE, 2, None)), asyncio.timeout(10):
            await asyncio.Event().wait()
