"""What is wrong with TLS is told in words, whatever the broker: the handshake is all that these servers do."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from worker.brokers import QueueAddress, open_queue
from worker.errors import BrokerError


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """The port of a server with a certificate of an authority that nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("rediss://127.0.0.1:{}/0", "its certificate is not trusted: "),
        ("amqps://127.0.0.1:{}/q", "its certificate is not trusted: "),
        ("redis://127.0.0.1:{}/0", "a port for TLS wants rediss://"),
        ("amqp://127.0.0.1:{}/q", "a port for TLS wants amqps://"),
        ("rediss://no-such-host.invalid:{}/0", "its host is not known"),
        ("amqps://no-such-host.invalid:{}/q", "its host is not known"),
    ],
)
async def test_what_is_wrong_with_a_connection_is_told(url: str, says: str, port: int) -> None:
    async with contextlib.aclosing(open_queue(QueueAddress.parse(url.format(port)), "worker")) as queue:
        with pytest.raises(BrokerError) as caught:
            await queue.publish([b"row"])
    assert says in str(caught.value)
