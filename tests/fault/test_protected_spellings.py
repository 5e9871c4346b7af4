"""Ids in any spelling, as the tenant saw it: nobody protected is called, and each identifier is sent in one form."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import pytest
from fault.conftest import wait_until

pytestmark = pytest.mark.fault

SPELLINGS = (
    str.upper,
    "{{{}}}".format,
    "({})".format,
    lambda guid: guid.replace("-", ""),
    "urn:uuid:{}".format,
)


def _pairs(batch: str) -> list[tuple[str, str]]:
    with Path(batch).open(newline="", encoding="utf-8") as lines:
        return [(row["user_id"], row["identifier_id"]) for row in csv.DictReader(lines)]


def _sent(desk: Any) -> list[tuple[str, str]]:
    return [(each["user_id"], each["identifier_id"]) for each in desk.tenant.requests()]


def test_a_batch_in_capitals_and_a_protected_list_in_others_spellings(desk: Any) -> None:
    pairs = _pairs(desk.batch(60))
    written = [(user, SPELLINGS[place % 5](guid)) for place, (user, guid) in enumerate(pairs)]
    again = [(user, guid.upper()) for user, guid in pairs[10:15]]
    batch, keep = desk.folder / "capitals.csv", desk.folder / "keep.txt"
    with batch.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([("user_id", "identifier_id"), *written, *again])
    keep.write_text("".join(f"{SPELLINGS[place % 4](guid)}\n" for place, (_, guid) in enumerate(pairs[:10])))
    planned = desk.call("plan", str(batch), "--json", "--exclude", str(keep))
    assert "keep.txt: 10 ids, 10 of them in this file" in planned.err
    (told,) = planned.summary["protected_lists"]
    assert (told["path"], told["ids"], told["in_file"]) == (str(keep), 10, 10)
    assert planned.summary["warnings"] == []
    ran = desk.call("run", str(batch), "--yes", "--json", "--rate", "1000/s")
    assert (ran.code, ran.outcomes) == (0, {"succeeded": 50, "duplicate": 5, "excluded": 10}), ran.err
    assert sorted(_sent(desk)) == sorted(pairs[10:])
    with (desk.run_folder / "report.csv").open(newline="", encoding="utf-8") as lines:
        cells = [(row["user_id"].removeprefix("'"), row["identifier_id"]) for row in csv.DictReader(lines)]
    assert [identifier for _, identifier in cells] == [identifier for _, identifier in written + again]


@pytest.mark.parametrize(
    "around", ["'{}'", "\u201c{}\u201d", "{}.", "{}#ceo", "mailto:{}", "<{}>", "{},", "- {}"]
)
def test_a_list_that_is_not_understood_is_refused_with_its_line(desk: Any, around: str) -> None:
    batch = desk.batch(5)
    keep = desk.folder / "keep.txt"
    keep.write_text(f"# board\n{around.format(_pairs(batch)[0][0])}\n", encoding="utf-8")
    refused = desk.call("run", batch, "--yes", "--json", "--exclude", str(keep))
    assert refused.code == 2
    assert f"{keep}: line 2 " in refused.summary["error"]
    assert _sent(desk) == []


def test_an_id_that_differs_from_a_protected_one_in_case_alone_is_warned_of(desk: Any) -> None:
    batch = desk.batch(5)
    keep = desk.folder / "keep.txt"
    keep.write_text(f"{_pairs(batch)[2][0].swapcase()}\n")
    planned = desk.call("plan", batch, "--json", "--exclude", str(keep))
    assert planned.summary["warnings"] == [{"code": "case_of_protected", "count": 1, "lines": [4]}]
    assert "keep.txt: 1 id, 0 of them in this file" in planned.err
    assert "capital and small letters" in planned.err
    strict = desk.call("run", batch, "--again", "--yes", "--strict", "--exclude", str(keep))
    assert strict.code == 2
    assert _sent(desk) == []


def test_a_list_that_is_being_rewritten_holds_everybody_and_ends_nothing(desk: Any) -> None:
    batch = desk.batch(200)
    users = [user for user, _ in _pairs(batch)]
    keep = desk.folder / "keep.txt"
    keep.write_text("nobody\n")
    process = desk.popen("run", batch, "--yes", "--json", "--rate", "40/s", "--exclude", str(keep))
    wait_until(lambda: len(_sent(desk)) > 5)
    keep.write_text("")
    wait_until(lambda: "protected_list_changes" in (desk.run_folder / "run.log").read_text())
    time.sleep(0.2)  # what was in flight
    before = len(_sent(desk))
    time.sleep(1.0)
    assert len(_sent(desk)) == before
    keep.write_text(f"nobody\n{users[-1]}\n")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert {name: count for name, count in json.loads(out)["outcomes"].items() if count} == {
        "succeeded": 199,
        "excluded": 1,
    }
    assert users[-1] not in {user for user, _ in _sent(desk)}


def test_failed_rows_in_capitals_are_fed_straight_back_in(desk: Any) -> None:
    pairs = _pairs(desk.batch(5))
    batch = desk.folder / "capitals.csv"
    with batch.open("w", newline="", encoding="utf-8") as lines:
        written = [(user, guid.upper()) for user, guid in pairs]
        csv.writer(lines).writerows([("user_id", "identifier_id"), *written, ("nobody", pairs[0][1].upper())])
    ran = desk.call("run", str(batch), "--yes", "--json", "--rate", "1000/s")
    assert (ran.code, ran.outcomes) == (1, {"succeeded": 5, "not_found": 1}), ran.err
    again = desk.call("plan", str(desk.run_folder / "failed.csv"), "--json")
    assert again.outcomes == {"pending": 1}, again.err
