"""What a user of celery writes. `celery_worker.py FILE ROWS` publishes; `celery --app celery_worker worker` works.

Tuned: threads, which were faster here than gevent, with a session each; no results.
"""

from __future__ import annotations

import threading

import requests
from backlog import HEADERS, REDIS, backlog, url_of
from celery import Celery

app = Celery("bench", broker=REDIS, task_ignore_result=True)
_of_thread = threading.local()


@app.task(name="unverify")
def unverify(user_id: str, identifier_id: str) -> None:
    reply = _session().post(url_of(user_id, identifier_id))
    reply.raise_for_status()
    reply.json()


def _session() -> requests.Session:
    if not hasattr(_of_thread, "session"):
        _of_thread.session = requests.Session()
        _of_thread.session.headers.update(HEADERS)
    session: requests.Session = _of_thread.session
    return session


if __name__ == "__main__":
    with app.producer_pool.acquire(block=True) as producer:
        for row in backlog():
            unverify.apply_async(row, producer=producer)
