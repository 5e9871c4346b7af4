"""What is written down of messages, for other languages, is what workers take and send."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.queueing import decode_findings, decode_letter, parse, schema

_PUBLISHED = Path(__file__).parents[2] / "deploy" / "message.schema.json"


def test_the_published_schema_is_the_real_one() -> None:
    written = json.dumps(schema(), indent=2) + "\n"
    assert _PUBLISHED.read_text() == written, "write it anew: see worker.queueing.schema"


_READERS: dict[str, Callable[[bytes], object]] = {
    "user_id": parse,
    "batch_id": parse,
    "batch": decode_findings,
    "reason": decode_letter,
}
"""What reads a documented message, by its first key."""
_DOCUMENTED = [
    line
    for block in re.findall(
        r"^```json\n(.*?)^```", (_PUBLISHED.parent / "queues.md").read_text(), re.DOTALL | re.MULTILINE
    )
    for line in block.splitlines()
]


def test_each_kind_of_message_is_documented() -> None:
    assert {next(iter(json.loads(line))) for line in _DOCUMENTED} == set(_READERS)


@pytest.mark.parametrize("line", _DOCUMENTED)
def test_a_documented_message_is_one(line: str) -> None:
    first, *_ = json.loads(line)
    _READERS[first](line.encode())
