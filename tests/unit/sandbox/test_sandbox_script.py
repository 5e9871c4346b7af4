"""What befalls requests: shares, outages, the key, and that it all follows from the seed."""

from __future__ import annotations

import collections

import pytest
from pydantic import ValidationError

from worker.sandbox.options import HeaderForm, Kind, Limit, Outage, OutageKind, Trouble
from worker.sandbox.script import Fate, Script


def _fates(trouble: Trouble, n: int = 1, seed: int = 1) -> list[Fate]:
    script = Script(trouble, seed, 0.0)
    return [
        script.decide(f"user-{i}", "email", key_right=True, now_s=float(i), epoch_s=0.0) for i in range(n)
    ]


def test_without_trouble_nothing_befalls() -> None:
    assert _fates(Trouble(), 100) == [Fate()] * 100


@pytest.mark.parametrize("kind", list(Kind))
def test_a_whole_share_strikes_each_request(kind: Kind) -> None:
    assert {fate.kind for fate in _fates(Trouble.model_validate({kind.value: 1.0}), 200)} == {kind}


def test_shares_are_of_all_requests() -> None:
    fates = _fates(Trouble(server_error=0.2, reset=0.1, slow=0.5, slow_s=3.0), 10_000)
    counts = collections.Counter(fate.kind for fate in fates)
    assert counts[Kind.SERVER_ERROR] == pytest.approx(2000, rel=0.1)
    assert counts[Kind.RESET] == pytest.approx(1000, rel=0.15)
    assert counts[None] == pytest.approx(7000, rel=0.05)
    assert sum(fate.slow_s == 3.0 for fate in fates) == pytest.approx(5000, rel=0.1)
    assert {fate.status for fate in fates} == {500, 502, 503, 504}


@pytest.mark.parametrize("name", ["gzip", "latin1", "close"])
def test_modifiers_are_drawn_apart(name: str) -> None:
    fates = _fates(Trouble.model_validate({name: 0.3, "server_error": 0.3}), 5000)
    struck = [fate for fate in fates if getattr(fate, name)]
    assert len(struck) == pytest.approx(1500, rel=0.15)
    both = sum(fate.kind is Kind.SERVER_ERROR for fate in struck)
    assert both == pytest.approx(450, rel=0.25)


def test_shares_over_a_whole_are_refused() -> None:
    with pytest.raises(ValidationError, match="add up"):
        Trouble(server_error=0.7, reset=0.4)


def test_the_same_seed_strikes_the_same_attempts_in_any_order() -> None:
    trouble = Trouble(server_error=0.3)
    names = [f"user-{i % 50}" for i in range(200)]

    def struck(order: list[str], seed: int) -> dict[tuple[str, int], Kind | None]:
        script, attempts, found = Script(trouble, seed, 0.0), collections.Counter[str](), {}
        for name in order:
            attempts[name] += 1
            fate = script.decide(name, "email", key_right=True, now_s=0.0, epoch_s=0.0)
            found[name, attempts[name]] = fate.kind
        return found

    assert struck(names, 1) == struck(sorted(names), 1)
    assert struck(names, 1) != struck(names, 2)
    assert len(set(struck(["user-1"] * 100, 1).values())) == 2


@pytest.mark.parametrize(
    ("kind", "befalls"),
    [
        (OutageKind.UNAVAILABLE, Kind.SERVER_ERROR),
        (OutageKind.REFUSE, Kind.RESET),
        (OutageKind.RESET, Kind.RESET),
        (OutageKind.STALL, Kind.STALL),
    ],
)
def test_an_outage_begins_at_its_request_and_ends_by_the_clock(kind: OutageKind, befalls: Kind) -> None:
    fates = _fates(Trouble(outages=(Outage(kind=kind, from_request=3, for_s=4.0),)), 10)
    assert [fate.kind for fate in fates] == [None] * 2 + [befalls] * 4 + [None] * 4
    assert fates[2].status == 503
    assert fates[2].refuse_s == (4.0 if kind is OutageKind.REFUSE else 0.0)


def test_two_outages_each_have_their_time() -> None:
    outages = (Outage(from_request=2, for_s=1.5), Outage(from_request=6, for_s=2.5))
    kinds = [fate.kind is not None for fate in _fates(Trouble(outages=outages), 10)]
    assert kinds == [False, True, True, False, False, True, True, True, False, False]


def test_a_key_is_revoked_after_so_many_requests() -> None:
    kinds = [fate.kind for fate in _fates(Trouble(key_revoked_after=3), 6)]
    assert kinds == [None] * 3 + [Kind.UNAUTHORIZED] * 3


def test_a_wrong_key_costs_the_limit_nothing() -> None:
    script = Script(Trouble(limits=(Limit(requests=1),)), 1, 0.0)
    wrong = script.decide("u", "i", key_right=False, now_s=0.0, epoch_s=0.0)
    right = script.decide("u", "i", key_right=True, now_s=0.0, epoch_s=0.0)
    assert (wrong.kind, right.kind) == (Kind.UNAUTHORIZED, None)


def test_a_limit_tells_before_it_refuses() -> None:
    limit = Limit(requests=2, per_s=100.0, headers=(HeaderForm.RATELIMIT_OLDER,))
    fates = _fates(Trouble(limits=(limit,)), 3)
    assert [fate.kind for fate in fates] == [None, None, Kind.THROTTLED]
    assert [fate.headers["RateLimit-Remaining"] for fate in fates] == ["1", "0", "0"]


def test_some_users_always_meet_theirs() -> None:
    trouble = Trouble(for_users={"user-3": Kind.NOT_FOUND, "user-5": Kind.SERVER_ERROR})
    fates = _fates(trouble, 8)
    assert [fate.kind for fate in fates if fate.kind] == [Kind.NOT_FOUND, Kind.SERVER_ERROR]
    assert fates[5].status in {500, 502, 503, 504}
