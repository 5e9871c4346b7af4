"""Whether a stream that somebody else made keeps what it is given: read before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nats.js.api import DiscardPolicy, RetentionPolicy, StreamConfig

_LIMITS: Final = ("max_msgs", "max_bytes", "max_msgs_per_subject")


def unfit(config: StreamConfig, subject: str) -> str:
    """Return what is wrong with a stream that messages are published to on `subject`, or nothing."""
    return next(_troubles(config, subject), "")


def _troubles(config: StreamConfig, subject: str) -> Iterator[str]:
    if not {subject, "*", ">"} & set(config.subjects or ()) or config.mirror is not None:
        yield f"it does not store what is published to {subject!r}: give it that subject"
    if config.retention == RetentionPolicy.INTEREST:
        yield "its retention is `interest`, which drops what no consumer waits for: use `workqueue` (or `limits`)"
    if config.max_age:
        yield f"its max_age of {config.max_age:g} s drops what is older: take it off"
    limits = [limit for limit in _LIMITS if (getattr(config, limit) or 0) > 0]
    if limits and config.discard != DiscardPolicy.NEW:
        yield f"with its {' and '.join(limits)} it drops the oldest (discard `old`): use discard `new`, or no limit"
    if config.no_ack:
        yield "it is `no_ack`, so that nothing published to it is confirmed: take that off"
    if config.sealed:
        yield "it is sealed, and takes nothing"
    if config.subject_transform is not None:
        yield "its subject_transform stores messages under another subject: take it off"
