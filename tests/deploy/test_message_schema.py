"""The schema that producers in other languages read is the one that workers check."""

import json
from pathlib import Path

from worker.queueing import schema

_PUBLISHED = Path(__file__).parents[2] / "deploy" / "message.schema.json"


def test_the_published_schema_is_the_real_one() -> None:
    written = json.dumps(schema(), indent=2) + "\n"
    assert _PUBLISHED.read_text() == written, "write it anew: see worker.queueing.schema"
