"""A broker that the environment names is somebody's: the suites use it, and neither end nor empty it."""

from __future__ import annotations

from typing import Any

import pytest
from brokers.servers import OWN, given


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("harm", ["kill", "start", "forget"])
def test_it_is_not_ended_or_emptied(name: str, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"BULK_UNVERIFY_TEST_{name.upper()}", "scheme://127.0.0.1:1/9")
    server: Any = given(name)
    with pytest.raises(AssertionError, match="kills_broker"):
        getattr(server, harm)()
