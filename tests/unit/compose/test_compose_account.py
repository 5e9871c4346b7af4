"""What a standing worker tells of itself is of all its sessions, and its trouble is the one that matters."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from worker.compose.account import Account
from worker.errors import BrokerError
from worker.model import Depth, Outcome
from worker.pacing import PaceStatus


@dataclasses.dataclass
class Desk:
    """The figures of a session."""

    buried: int = 0
    given_back: int = 0
    unrecorded: int = 0
    trouble: str = ""


def session(account: Account, desk: Desk) -> Any:
    desk_: Any = desk
    return account.session(desk_, lambda: PaceStatus(25.0, "as asked for", 3))


def test_figures_are_those_of_all_sessions() -> None:
    account = Account()
    with session(account, desk := Desk(buried=1, given_back=2)):
        desk.unrecorded = 4
        assert account.counts() == {"buried": 1, "given_back": 2, "unrecorded": 4}
    with session(account, Desk(buried=10)):
        account.outcomes[Outcome.SUCCEEDED] += 5
        now = account.moment()
    assert (now.buried, now.given_back, now.unrecorded) == (11, 2, 4)
    assert (now.rate_per_s, now.in_flight, now.rows[Outcome.SUCCEEDED]) == (25.0, 3, 5)
    after = account.moment()
    assert (after.buried, after.given_back, after.unrecorded) == (11, 2, 4)
    assert (after.rate_per_s, after.in_flight) == (0.0, 0)


def test_the_trouble_that_is_told_is_the_one_that_lasts() -> None:
    account = Account()
    assert account.trouble == "The worker is starting."
    account.lost = "Redis cannot be used (ConnectionError)."
    assert account.trouble == account.lost
    account.lost = ""
    with session(account, desk := Desk()):
        assert account.trouble == ""
        desk.trouble = "Redis cannot be used."
        assert account.trouble == "Redis cannot be used."
        account.halted = "the tenant answered 401"
        assert account.trouble == "Halted: the tenant answered 401."
        account.stopping = True
        assert account.trouble == "The worker is stopping."
    account.stopping, account.halted = False, ""
    assert account.trouble == ""


async def test_a_depth_that_is_not_known_is_not_told() -> None:
    class Queue:
        def __init__(self) -> None:
            self.asked = asyncio.Event()
            self.lost = False

        async def depth(self) -> Depth:
            self.asked.set()
            if self.lost:
                raise BrokerError("lost")
            return Depth(3, 2)

    account, queue = Account(), Queue()
    given: Any = queue
    for lost, told in ((False, Depth(3, 2)), (True, None)):
        queue.lost = lost
        queue.asked.clear()
        async with account.following(given):
            await queue.asked.wait()
            await asyncio.sleep(0)
        assert account.moment().depth == told
