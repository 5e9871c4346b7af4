"""Moto's SQS as a server of its own: `python sqs_server.py PORT FILE`. Told to end, it writes what it holds to FILE.

As it comes, Moto loses messages when two requests meet, and all of them when it ends. Here one request is dealt with
at a time, except for those that wait for messages, and a server that is started with the file of another goes on
with its queues. The ending is sudden for its clients: no answer is finished.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sqs import models
from moto.sqs.models import Queue, sqs_backends
from werkzeug.serving import make_server

POLL_S = 0.02
ACCOUNT = "123456789012"


class OneAtATime:
    """A WSGI application whose requests do not meet."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.lock = threading.Lock()

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        with self.lock:
            return list(self._application(environ, start_response))

    def give_way(self, timeout: float, queue: Queue) -> None:
        """Let others have their turn until there is something to receive."""
        until = time.monotonic() + timeout
        while not queue.messages and time.monotonic() < until:
            self.lock.release()
            time.sleep(POLL_S)
            self.lock.acquire()


def state_of(queue: Queue) -> dict[str, Any]:
    """Return what is in a queue; a lock cannot be written to a file."""
    return {name: value for name, value in vars(queue).items() if name != "_messages_lock"}


def visible(queue: Queue) -> list[Any]:
    """Return a queue's messages that may be taken, by one look at the clock."""
    now = time.time() * 1000
    return [each for each in queue._messages if each.visible_at < now and each.delayed_until <= now]


def hasten() -> None:
    """Take off what Moto does at each request for each message that waits: age checks, looks at the clock, counts."""
    backend, queue = models.SQSBackend, cast("Any", Queue)
    send, attributes = backend.send_message, queue.attributes

    def send_uncounted(*arguments: Any, **named: Any) -> Any:
        queue.attributes = {}  # it is asked for whether the queue is one of those that keep duplicates out
        try:
            return send(*arguments, **named)
        finally:
            queue.attributes = attributes

    backend.send_message = send_uncounted  # type: ignore[method-assign]
    backend.is_message_valid_based_on_retention_period = lambda *_: True  # type: ignore[method-assign]
    queue.messages = property(visible)


def main(port: int, file: Path) -> None:
    application = OneAtATime(DomainDispatcherApplication(create_backend_app))
    hasten()
    patched: Any = Queue
    patched.wait_for_messages = lambda queue, timeout: application.give_way(timeout, queue)
    patched.__getstate__ = state_of
    patched.__setstate__ = lambda queue, state: vars(queue).update(
        state, _messages_lock=threading.Condition()
    )
    if file.exists():
        for region, queues in pickle.loads(file.read_bytes()).items():
            sqs_backends[ACCOUNT][region].queues.update(queues)

    def end(*_: object) -> None:
        with application.lock:
            held = {region: backend.queues for region, backend in sqs_backends[ACCOUNT].items()}
            file.write_bytes(pickle.dumps(held))
            os._exit(0)

    signal.signal(signal.SIGTERM, end)
    logging.getLogger("werkzeug").disabled = True
    make_server(
        "127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler
    ).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
