"""What a report of a JSON lines batch becomes when it is fed back in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from acceptance.command_line import call, refused

_GOOD = {"user_id": "u1", "identifier_id": "i1", "note": "x" * 200_000}
_LINES = [
    json.dumps(_GOOD),
    '{"user_id": ["u2"], "identifier_id": "i2"}',
    '{"user_id": "u3", "identifier_id": true}',
    '{"user_id": "u4", "user_id": "u5", "identifier_id": "i4"}',
    '["u6", "i6"]',
]


def report(folder: Path, source: str, form: str) -> list[dict[str, Any]]:
    """Plan `source`, write the plan's report to `back.csv` or `back.jsonl`, and return its rows if JSON lines."""
    run = json.loads(call(folder, "plan", source, "--json").stdout)["run_id"]
    done = call(folder, "report", run, "--format", form, "-o", f"back.{form}")
    assert done.returncode == 0, done.stderr
    lines = (folder / f"back.{form}").read_text().splitlines()
    return [json.loads(line) for line in lines] if form == "jsonl" else []


def test_good_rows_stay_good_and_invalid_ones_invalid(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join(_LINES))
    report(tmp_path, "in.jsonl", "csv")
    rows = report(tmp_path, "back.csv", "jsonl")
    assert [row["_outcome"] for row in rows] == ["pending", "invalid", "invalid", "invalid", "invalid"]
    assert rows[0]["input"] == _GOOD


def test_a_json_lines_report_is_refused_with_what_to_give_instead(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join(_LINES))
    report(tmp_path, "in.jsonl", "jsonl")
    refused(call(tmp_path, "plan", "back.jsonl"), "JSON lines report", "failed.csv", "report --format csv")
