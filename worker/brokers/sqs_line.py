"""The client of Amazon SQS, one for all queues of a worker, and what goes wrong with it in a sentence."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from worker.errors import BrokerError

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

T = TypeVar("T")

TIMEOUT_S: Final = 10.0
"""How long what one call asks may take, beside what it waits for messages."""
_CONNECT_S: Final = 5.0
_ATTEMPTS: Final = 2
_REQUESTS: Final = 8
"""How many are under way at once."""
_MISSING: Final = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


class QueueMissingError(BrokerError):
    """There is no such queue any more; it is made when it is used again."""


class SqsLine:
    """A client that is made when it is needed.

    Who it is comes from the environment, as the AWS command line finds it: variables, a profile, the machine's role.

    Args:
        server: `sqs://REGION` for Amazon's endpoint, `sqs://HOST:PORT?region=REGION` for another.
    """

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        options = parse_qs(parts.query)
        [self._region] = options.get("region", [parts.netloc])
        scheme = "http" if "insecure" in options else "https"
        self._endpoint = f"{scheme}://{parts.netloc}" if "region" in options else None
        self._open = contextlib.AsyncExitStack()
        self._client: SQSClient | None = None
        self._connecting = asyncio.Lock()
        self.requests = asyncio.Semaphore(_REQUESTS)

    async def client(self) -> SQSClient:
        """Return the client."""
        async with self._connecting:
            if self._client is None:
                config = AioConfig(
                    connect_timeout=_CONNECT_S,
                    read_timeout=2 * TIMEOUT_S,  # a long poll's answer takes as long as it waits
                    max_pool_connections=2 * _REQUESTS,
                    retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                )
                client: SQSClient = await self._open.enter_async_context(
                    get_session().create_client(
                        "sqs", region_name=self._region, endpoint_url=self._endpoint, config=config
                    )
                )
                self._client = client
            return self._client

    @contextlib.asynccontextmanager
    async def asking(self, wait_s: float = 0.0) -> AsyncIterator[SQSClient]:
        """Yield the client for one call.

        Raises:
            QueueMissingError: There is no such queue.
            BrokerError: It cannot be used, or did not answer in time.
        """
        try:
            async with asyncio.timeout(wait_s + TIMEOUT_S):
                yield await self.client()
        except NoCredentialsError:
            raise BrokerError(
                "SQS cannot be used: no AWS credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
                " name a profile, or give the machine a role."
            ) from None
        except (BotoCoreError, ClientError, OSError) as error:  # its text may hold what was sent
            said = _said(error)
            kind = QueueMissingError if said in _MISSING else BrokerError
            raise kind(f"SQS cannot be used ({said}).") from None

    async def aclose(self) -> None:
        """Close the client's connections."""
        self._client = None
        await self._open.aclose()


async def all_of(asked: Iterable[Awaitable[T]]) -> list[T]:
    """Return all answers once none is under way any more; raises the first error among them."""
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]


def _said(error: Exception) -> str:
    """Return the service's word for what is wrong, or what kind of error it is."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "an error without a code"))
    return type(error).__name__
