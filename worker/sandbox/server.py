"""The sandbox itself: a stand-in tenant on a loopback socket."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from worker.errors import ConfigurationError
from worker.sandbox import wire
from worker.sandbox.api import Api
from worker.sandbox.control import PREFIX, control
from worker.sandbox.door import Door
from worker.sandbox.options import Kind, SandboxOptions, Trouble
from worker.sandbox.people import People
from worker.sandbox.pulse import Pulse
from worker.sandbox.record import Record
from worker.sandbox.replies import Reply
from worker.sandbox.routes import find_route
from worker.sandbox.script import Fate, Script
from worker.sandbox.stage import NOTHING_DONE, Stage
from worker.sandbox.tenant import Tenant

_ACTED: Final = range(200, 300)
_KEEP_ALIVE_S: Final = 75.0


class Sandbox:
    """Serves while its `async with` block runs.

    Args:
        options: What to be.
        clock: Monotonic seconds.
        epoch: Seconds since 1970.

    Raises:
        ConfigurationError: The host is not on loopback, or the port or the certificate cannot be used.
    """

    def __init__(
        self,
        options: SandboxOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self._host = _loopback(options.host)
        self._clock = clock
        self._epoch = epoch
        self._people = People(options.seed, options.users)
        self._tls = _tls_context(options)
        self._pulse = Pulse(clock)
        self._port = options.port
        self._elsewhere_port = 0
        self._begin_anew(options.trouble)

    async def __aenter__(self) -> Self:
        # A stalled or slow answer ends when its client hangs up: nothing piles up.
        server = web.Server(
            self._handle, access_log=None, handler_cancellation=True, keepalive_timeout=_KEEP_ALIVE_S
        )
        self._door = Door(server, self._host, self.options.port, self._tls)
        self._port = await self._door.open()
        self._back_door = Door(web.Server(self._handle_elsewhere, access_log=None), self._host, 0)
        self._elsewhere_port = await self._back_door.open()
        self.set_trouble(self._trouble)
        self._beating = asyncio.create_task(self._pulse.keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._beating.cancel()
        await self._door.close()
        await self._back_door.close()

    @property
    def url(self) -> str:
        """The address without a path, for example `http://127.0.0.1:40123`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}"

    @property
    def domain(self) -> str:
        """What goes into MONOCLOUD_MANAGEMENT_DOMAIN; with its scheme, as plain http must be asked for."""
        return self.url

    @property
    def elsewhere(self) -> str:
        """Where redirects lead: another port on the same address."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._elsewhere_port}"

    @property
    def api_key(self) -> str:
        """The one key that is right."""
        return self.options.api_key

    @property
    def people(self) -> People:
        """The users, as they were made."""
        return self._people

    @property
    def tenant(self) -> Tenant:
        """The users, as they are now."""
        return self._tenant

    @property
    def record(self) -> Record:
        """What was received since the start or the last reset."""
        return self._record

    def pairs(self, n: int) -> list[tuple[str, str]]:
        """Return user id and primary e-mail's id of the first `n` users."""
        people = map(self._people.person, range(min(n, self._people.count)))
        return [(person.user_id, person.email_ids[0]) for person in people]

    def set_trouble(self, trouble: Trouble) -> None:
        """Replace all trouble; its counts, limits and draws begin anew."""
        self._trouble = trouble
        self._script = Script(trouble, self.options.seed, self._clock())
        self._stage = Stage(self._api, trouble, self.elsewhere)

    def reset(self) -> None:
        """Forget the record and every change to a user; the trouble stays and begins anew."""
        self._begin_anew(self._trouble)

    def _begin_anew(self, trouble: Trouble) -> None:
        self._tenant = Tenant(self._people)
        self._record = Record(self._people)
        self._api = Api(self._tenant, self.options.plan, self.options.already_unverified)
        self.set_trouble(trouble)

    async def _handle_elsewhere(self, request: web.BaseRequest) -> web.StreamResponse:
        self._record.elsewhere["requests"] += 1
        self._record.elsewhere["with_key"] += "X-API-KEY" in request.headers
        return web.json_response({})

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path.startswith(PREFIX):
            return await control(self, request)
        since_s, now_s = self._pulse.look()
        record, script, stage = self._record, self._script, self._stage
        route = find_route(request.method, request.raw_path)
        person = self._people.find(route.user_id) if route.user_id else None
        pair = (route.user_id, route.identifier_id)
        number = record.arrived((since_s, now_s), request.method, route.action, person, pair)
        key = request.headers.get("X-API-KEY")
        record.keys["missing" if key is None else "right" if key == self.api_key else "wrong"] += 1
        epoch_s = self._epoch()
        fate = script.decide(*pair, key_right=key == self.api_key, now_s=now_s, epoch_s=epoch_s)
        if fate.refuse_s > 0.0:
            self._door.refuse(fate.refuse_s)
        body = await request.read() if request.body_exists else b""
        reply = stage.reply(route, person, body, fate, epoch_s)
        if fate.kind not in NOTHING_DONE and reply.status in _ACTED and request.method != "GET":
            record.acted(number)
        return await self._write(request, record, number, reply, fate)

    async def _write(
        self, request: web.BaseRequest, record: Record, number: int, reply: Reply, fate: Fate
    ) -> web.StreamResponse:
        """Answer, or do what `fate` has in store instead; only then is the request's status recorded."""
        if fate.slow_s > 0.0:
            await asyncio.sleep(fate.slow_s)
        if fate.kind in {Kind.STALL, Kind.STALL_AFTER}:
            await wire.stall()
        if fate.kind in {Kind.RESET, Kind.RESET_AFTER}:
            wire.reset_transport(request.transport)
        elif fate.kind is Kind.GARBAGE:
            wire.write_garbage(request.transport)
        else:
            record.answered(number, reply.status)
        response = wire.make_response(reply, fate)
        if fate.kind is Kind.TRUNCATED:
            wire.write_truncated(request.transport, response)
        return response


def _loopback(host: str) -> str:
    """Return the address that `host` means."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        if ipaddress.ip_address(address).is_loopback:
            return address
    except ValueError:
        pass
    raise ConfigurationError(
        f"The sandbox does not listen on {host!r}: it takes a made-up key, so it serves loopback "
        "addresses alone. Use 127.0.0.1, ::1 or localhost."
    )


def _tls_context(options: SandboxOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"The certificate {options.tls_cert} with the key {options.tls_key} cannot be used: "
            f"{error.strerror or error}. Give two PEM files that belong together."
        ) from error
    return context
