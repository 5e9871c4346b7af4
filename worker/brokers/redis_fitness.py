"""Whether a Redis keeps what it is given: read before it is used, and again whenever it was lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import redis.asyncio as redis
from redis.exceptions import NoPermissionError

from worker.errors import BrokerUnfitError

_OLDEST: Final = 7
_MODES: Final = {
    "cluster": (
        "is a node of a cluster, and bulk-unverify does not follow keys from node to node. Use a Redis outside a"
        " cluster (a primary with replicas is fine), or another broker; where only the shared rate is kept there,"
        " `--shared-rate none` does without it."
    ),
    "sentinel": "is a Sentinel, which holds no data. Give the address of the primary that it watches.",
}


def unfit(info: Mapping[str, Any], *, keeps: bool) -> str:
    """Return what is wrong with a Redis, or nothing.

    Args:
        info: What it answers to `INFO`.
        keeps: Whether it is to keep anything; from one that loses data, what is left may still be taken.
    """
    version = str(info.get("redis_version", "0"))
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < _OLDEST:
        return f"is version {version}, and bulk-unverify needs Redis {_OLDEST} or newer."
    if trouble := _MODES.get(str(info.get("redis_mode", ""))):
        return trouble
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if keeps and int(info.get("maxmemory", 0)) > 0 and policy != "noeviction":
        return (
            f"throws keys away when its memory is full (maxmemory-policy {policy}): rows, outcomes, or what is known"
            " to be done would be lost unseen. Set `maxmemory-policy noeviction` there, or use another Redis."
        )
    return ""


async def check_fitness(client: redis.Redis, *, keeps: bool, what: str = "This Redis") -> None:
    """Ask a Redis what it is.

    Raises:
        BrokerUnfitError: It cannot be relied on.
        redis.RedisError: It did not answer.
    """
    try:
        trouble = unfit(await client.info(), keeps=keeps)
    except NoPermissionError:
        trouble = (
            "does not let this user ask INFO, which tells whether it throws keys away: give it that right"
            " (`ACL SETUSER NAME +info`)."
        )
    if trouble:
        raise BrokerUnfitError(f"{what} cannot be used: it {trouble}")


class Fitness:
    """That a Redis keeps what it is given, once it was asked, until that is in doubt.

    Args:
        client: The connections.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._is_known = False

    async def check(self) -> None:
        """Ask, unless it is known.

        Raises:
            BrokerUnfitError: It cannot be relied on.
            redis.RedisError: It did not answer.
        """
        if not self._is_known:
            await check_fitness(self._client, keeps=True)
            self._is_known = True

    def doubt(self) -> None:
        """Ask again the next time: another Redis may have taken its place."""
        self._is_known = False
