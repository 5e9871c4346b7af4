"""Claiming ahead: every row once and in order, blocks that fit the pace, and nothing lost when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from worker.errors import LedgerError
from worker.feed import Feed, _next_size
from worker.model import Row


class Ledger:
    """A source of `count` rows that remembers what was asked of it, and claims once it is let to."""

    def __init__(self, count: int) -> None:
        self._rows = [Row(number, f"u{number}", f"i{number}") for number in range(1, count + 1)]
        self.asked: list[int] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def claim(self, limit: int) -> Sequence[Row]:
        self.asked.append(limit)
        await self.open.wait()
        if self.broken:
            raise LedgerError("the disk is full")
        taken, self._rows = self._rows[:limit], self._rows[limit:]
        return taken

    async def more(self) -> bool:
        return False


class Claimed:
    """A feed on such a ledger; `now` is its clock, and a row takes `row_s` to be called."""

    def __init__(self, count: int, *, row_s: float = 0.0) -> None:
        self.now = 0.0
        self.ledger = Ledger(count)
        self.feed = Feed(self.ledger, lambda: self.now)
        self._row_s = row_s

    async def take(self, count: int) -> list[int]:
        """Take up to `count` rows, one after the other."""
        taken: list[int] = []
        while len(taken) < count and (row := await next_of(self.feed)) is not None:
            taken.append(row.number)
            self.now += self._row_s
            await settled()
        return taken


async def next_of(feed: Feed) -> Row | None:
    """Return the next row, waiting for it as a worker does."""
    await feed.refill()
    return feed.take()


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
async def test_every_row_is_handed_out_once_and_in_order(count: int) -> None:
    here = Claimed(count)
    assert await here.take(count + 1) == list(range(1, count + 1))
    assert here.feed.exhausted
    assert await next_of(here.feed) is None


async def test_workers_that_take_at_once_share_the_rows() -> None:
    here = Claimed(500)
    taken = await asyncio.gather(*(here.take(500) for _ in range(8)))
    assert sorted(number for part in taken for number in part) == list(range(1, 501))


async def test_workers_that_wait_share_one_claim() -> None:
    here = Claimed(8)
    here.ledger.open.clear()
    waiting = [asyncio.create_task(next_of(here.feed)) for _ in range(4)]
    await settled()
    assert here.ledger.asked == [4]
    here.ledger.open.set()
    rows = await asyncio.gather(*waiting)
    assert [row and row.number for row in rows] == [1, 2, 3, 4]


async def test_the_next_block_is_claimed_while_this_one_is_used() -> None:
    here = Claimed(100)
    assert await next_of(here.feed) is not None
    here.ledger.open.clear()
    assert await asyncio.wait_for(here.take(3), 10) == [2, 3, 4], "rows at hand do not wait for the claim"
    assert here.ledger.asked == [4, 8]
    waiting = asyncio.create_task(here.take(1))
    await settled()
    assert not waiting.done()
    here.ledger.open.set()
    assert await waiting == [5]


async def test_no_more_than_two_blocks_are_at_hand() -> None:
    here = Claimed(100)
    await here.take(4)
    assert here.ledger.asked == [4, 8], "the second block is whole"
    await here.take(1)
    assert len(here.ledger.asked) == 3


async def test_it_is_exhausted_only_after_an_empty_claim_and_the_last_row() -> None:
    here = Claimed(2)
    assert not here.feed.exhausted
    assert await here.take(1) == [1]
    assert here.ledger.asked == [4, 8], "the second claim found nothing"
    assert not here.feed.exhausted
    assert await here.take(1) == [2]
    assert here.feed.exhausted
    await here.take(1)
    assert here.ledger.asked == [4, 8], "an exhausted source is not asked again"


async def test_brisk_blocks_double_up_to_512() -> None:
    here = Claimed(5000, row_s=0.000_001)
    await here.take(5000)
    assert here.ledger.asked[:9] == [4, 8, 16, 32, 64, 128, 256, 512, 512]
    assert max(here.ledger.asked) == 512


async def test_slow_blocks_halve_down_to_2() -> None:
    """A row that is claimed and not called is a `maybe` after a kill."""
    here = Claimed(3000, row_s=1.0)
    here.feed._size = 512
    await here.take(1024)
    assert here.ledger.asked[:11] == [512, 256, 128, 64, 32, 16, 8, 4, 2, 2, 2]


async def test_a_block_lasts_10_to_40_ms_of_calls() -> None:
    here = Claimed(20_000, row_s=0.001)
    await here.take(10_000)
    assert {10 <= size <= 40 for size in here.ledger.asked[10:]} == {True}


@pytest.mark.parametrize(
    ("lasted_s", "size"), [(0.0, 32), (0.0099, 32), (0.01, 16), (0.04, 16), (0.0401, 8), (60.0, 8)]
)
def test_how_long_a_block_lasted_sizes_the_next(lasted_s: float, size: int) -> None:
    assert _next_size(16, lasted_s, ran_dry=False) == size


@pytest.mark.parametrize("lasted_s", [0.0, 0.02, 60.0])
def test_a_block_that_left_workers_waiting_was_too_small(lasted_s: float) -> None:
    assert _next_size(16, lasted_s, ran_dry=True) == 32


async def test_workers_that_had_to_wait_make_the_next_block_larger_once() -> None:
    here = Claimed(1000, row_s=0.002)
    here.feed._size = 16
    here.now += 0.02
    await here.take(300)
    assert here.ledger.asked[0] == 32, "nobody had a row before the first block"
    assert here.ledger.asked[:6] == [32, 64, 32, 16, 8, 8], "then as small as calls of 2 ms want it"


async def test_draining_returns_what_was_never_handed_out() -> None:
    here = Claimed(100)
    here.feed._size = 8
    taken = await here.take(3)
    rest = [row.number for row in await here.feed.drain()]
    assert taken == [1, 2, 3]
    assert rest == list(range(4, 4 + len(rest)))
    assert sum(here.ledger.asked) == len(taken) + len(rest)
    assert here.feed.exhausted
    assert await next_of(here.feed) is None
    assert await here.feed.drain() == []


async def test_draining_waits_for_a_claim_that_is_under_way() -> None:
    """What it claims is in flight on disk, so it must be given back."""
    here = Claimed(100)
    here.ledger.open.clear()
    waiting = asyncio.create_task(next_of(here.feed))
    await settled()
    waiting.cancel()
    draining = asyncio.create_task(here.feed.drain())
    await settled()
    assert not draining.done()
    here.ledger.open.set()
    assert [row.number for row in await draining] == [1, 2, 3, 4]


async def test_a_worker_that_is_cancelled_takes_no_claim_with_it() -> None:
    here = Claimed(100)
    here.ledger.open.clear()
    waiting = [asyncio.create_task(next_of(here.feed)) for _ in range(2)]
    await settled()
    waiting[0].cancel()
    await settled()
    here.ledger.open.set()
    row = await waiting[1]
    assert row is not None
    assert row.number == 1


async def test_a_claim_that_fails_stays_failed_for_everybody() -> None:
    here = Claimed(100)
    here.ledger.broken = True
    for _ in range(3):
        with pytest.raises(LedgerError, match="the disk is full"):
            await next_of(here.feed)
    with pytest.raises(LedgerError, match="the disk is full"):
        await here.feed.drain()
    assert len(here.ledger.asked) == 1, "a broken ledger is not asked again"


async def test_a_claim_ahead_that_fails_is_told_at_the_latest_when_draining() -> None:
    here = Claimed(100)
    assert len(await here.take(1)) == 1
    here.ledger.broken = True
    here.feed._size = 512
    await next_of(here.feed)
    await settled()
    with pytest.raises(LedgerError, match="the disk is full"):
        await here.feed.drain()


async def test_a_row_from_elsewhere_is_handed_out_while_a_claim_waits_for_rows() -> None:
    """Those who wait for that claim would else never look at it, and it is all that there is."""
    here = Claimed(1)
    changed, asked = asyncio.Event(), asyncio.Event()

    async def more() -> bool:
        asked.set()
        await changed.wait()
        changed.clear()  # a source that had more at once, for ever, would leave the loop to nobody else
        return True

    async def claim_elsewhere() -> Row:
        changed.set()
        return Row(77, "u77", "i77")

    here.ledger.more, here.ledger.claim_elsewhere = more, claim_elsewhere  # type: ignore[attr-defined]
    assert await here.take(1) == [1]
    waiting = asyncio.create_task(next_of(here.feed))
    await asked.wait()
    here.feed.look_elsewhere()
    async with asyncio.timeout(5):
        row = await waiting
    assert row is not None
    assert row.number == 77


async def test_a_row_that_came_from_elsewhere_while_a_claim_found_nothing_waits_for_nobody() -> None:
    """The claim looked for more before those who wait for it looked at the row: up to five minutes, or for ever."""
    here = Claimed(1)

    async def more() -> bool:
        await asyncio.Event().wait()
        return True

    async def claim_elsewhere() -> Row:
        here.ledger.open.set()
        return Row(77, "u77", "i77")

    assert await here.take(1) == [1]
    here.feed._exhausted = False  # the source has more, later
    here.ledger.more, here.ledger.claim_elsewhere = more, claim_elsewhere  # type: ignore[attr-defined]
    here.ledger.open.clear()
    waiting = asyncio.create_task(next_of(here.feed))
    await settled()
    here.feed.look_elsewhere()
    async with asyncio.timeout(5):
        row = await waiting
    assert row is not None
    assert row.number == 77
