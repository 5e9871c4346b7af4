"""What a run leaves behind as evidence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from worker.report.manifest import verify_manifest

pytestmark = pytest.mark.fault


def test_the_manifest_covers_the_ledger_and_looking_changes_nothing(desk: Any) -> None:
    desk.tenant.trouble(not_found=0.3)
    desk.run(30)
    folder = desk.run_folder
    listed = json.loads((folder / "manifest.json").read_bytes())
    assert "ledger.sqlite" in listed["files"], listed
    for words in (["status"], ["status", folder.name], ["report", folder.name, "--format", "jsonl"]):
        assert desk.call(*words).code == 0
        assert verify_manifest(folder) == []
    assert not list(folder.glob("ledger.sqlite-*"))
    assert desk.call("retry", folder.name, "--only", "not_found", "--yes").code in (0, 1)
    assert verify_manifest(folder) == []
