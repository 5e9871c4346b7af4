"""The listener of a standing worker: `/metrics`, `/healthz` and `/readyz`, and nothing that changes anything."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import os
import re
from collections.abc import AsyncIterator, Callable
from typing import Final, Self

from aiohttp import web

from worker.errors import ConfigurationError, UsageError
from worker.web.metrics import CONTENT_TYPE, Metrics, Moment

_FORM: Final = re.compile(r"\[?([^\[\]]+?)\]?:([0-9]{1,5})")
_LAST_PORT: Final = 65535
_GOODBYE_S: Final = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen.

    Attributes:
        host: An IP address; one that is not loopback is open to whoever reaches this machine.
        port: 0 for any that is free.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address that `text` means, `127.0.0.1:9464` or `[::1]:9464`.

        Raises:
            UsageError: It is none. A name is none either: it may stand for more than what is meant.
        """
        match = _FORM.fullmatch(text.strip())
        try:
            host, port = (str(ipaddress.ip_address(match[1])), int(match[2])) if match else ("", 0)
        except ValueError:
            host, port = "", 0
        if not host or port > _LAST_PORT:
            raise UsageError(
                f"--listen {text!r} is no address: write 127.0.0.1:9464 or [::1]:9464; 0.0.0.0:9464 is open to"
                " whoever reaches this machine."
            )
        return cls(host, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@contextlib.asynccontextmanager
async def listening(address: ListenAddress, look: Callable[[], Moment]) -> AsyncIterator[ListenAddress]:
    """Serve what `look` returns until the block ends; yield where, with the port that was free.

    Raises:
        ConfigurationError: Nothing can listen there.
    """
    app = web.Application()
    app.add_routes(_routes(look))
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_GOODBYE_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address.host, address.port).start()
        except OSError as error:
            raise ConfigurationError(
                f"--listen {address}: {os.strerror(error.errno or 0)}. Give another address; port 0 takes any"
                " that is free."
            ) from None
        yield dataclasses.replace(address, port=runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _routes(look: Callable[[], Moment]) -> list[web.RouteDef]:
    metrics = Metrics(look)

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def show_health(_: web.Request) -> web.Response:
        """Answer, which the event loop can only do while it turns."""
        return web.json_response({"healthy": True})

    async def show_readiness(_: web.Request) -> web.Response:
        trouble = look().trouble
        return web.json_response({"ready": not trouble, "reason": trouble}, status=503 if trouble else 200)

    return [
        web.get("/metrics", show_metrics),
        web.get("/healthz", show_health),
        web.get("/readyz", show_readiness),
    ]
