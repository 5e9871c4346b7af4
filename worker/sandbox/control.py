"""`/_sandbox/`: reading the record and changing the trouble. Needs no key and is not recorded."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from typing import Final, Protocol

import pydantic
from aiohttp import web

from worker.sandbox.options import Trouble
from worker.sandbox.record import DROPPED, Record

PREFIX: Final = "/_sandbox/"
_LINES_AT_ONCE: Final = 500


class Controlled(Protocol):
    """What the control calls steer."""

    @property
    def record(self) -> Record:
        """The record since the last reset."""

    def set_trouble(self, trouble: Trouble) -> None:
        """Replace the trouble."""

    def reset(self) -> None:
        """Forget the record and what was changed in the tenant."""


async def control(sandbox: Controlled, request: web.BaseRequest) -> web.StreamResponse:
    """Answer a request below `PREFIX`."""
    match request.method, request.path.removeprefix(PREFIX):
        case "GET", "record":
            return _summary(sandbox, request)
        case "GET", "requests":
            return await _stream(request, _request_lines(sandbox.record))
        case "GET", "pairs":
            return await _stream(request, _pair_lines(sandbox.record))
        case "POST", "trouble":
            return _trouble(sandbox, await request.read())
        case "POST", "reset":
            sandbox.reset()
            return web.json_response({"reset": True})
        case _:
            return web.json_response({"error": "There is no such control call."}, status=404)


def _summary(sandbox: Controlled, request: web.BaseRequest) -> web.Response:
    try:
        from_s = float(request.query.get("from", "0"))
        to_s = float(request.query.get("to", math.inf))
    except ValueError:
        return web.json_response({"error": "`from` and `to` are seconds."}, status=400)
    return web.json_response(sandbox.record.summary(from_s, to_s))


def _trouble(sandbox: Controlled, body: bytes) -> web.Response:
    try:
        trouble = Trouble.model_validate_json(body)
    except pydantic.ValidationError as error:
        return web.json_response({"error": str(error)}, status=400)
    sandbox.set_trouble(trouble)
    return web.json_response(trouble.model_dump(mode="json"))


def _request_lines(record: Record) -> Iterator[str]:
    start_s = 0.0
    for number, entry in enumerate(record.entries(), start=1):
        start_s = entry.arrived_s if number == 1 else start_s
        line = entry._asdict() | {
            "number": number,
            "arrived_s": round(entry.arrived_s - start_s, 6),
            "status": "dropped" if entry.status == DROPPED else entry.status,
        }
        yield json.dumps(line)


def _pair_lines(record: Record) -> Iterator[str]:
    acted = record.acted_by_pair()
    for pair, requests in record.by_pair().items():
        names = {"user_id": pair[0], "identifier_id": pair[1]}
        yield json.dumps(names | {"requests": requests, "acted": acted.get(pair, 0)})


async def _stream(request: web.BaseRequest, lines: Iterator[str]) -> web.StreamResponse:
    """Answer with JSON lines, some hundred at a time so that calls are served meanwhile."""
    response = web.StreamResponse(headers={"Content-Type": "application/jsonl; charset=utf-8"})
    await response.prepare(request)
    while batch := list(itertools.islice(lines, _LINES_AT_ONCE)):
        await response.write(("\n".join(batch) + "\n").encode())
    await response.write_eof()
    return response
