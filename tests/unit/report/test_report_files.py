"""What the report's files hold, read back the way their readers would."""

import csv
import datetime as dt
import io
import json
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest

from worker.errors import ReportError, UsageError
from worker.model import REPORT_COLUMNS, Outcome, RunState
from worker.report import parquet_report
from worker.report.csv_report import write_csv
from worker.report.destination import open_destination
from worker.report.manifest import MANIFEST_NAME, verify_manifest, write_manifest
from worker.report.parquet_report import write_parquet
from worker.report.writer import write_all, write_one
from worker.reportable import ReportRow, RunFacts, SessionFacts

HOSTILE = "<script>alert('x')</script>"
HEADER = ("user_id", "identifier_id")
T0 = 1_790_000_000.0


def some_rows() -> list[ReportRow]:
    return [
        ReportRow(["u1", "e1"], 1, Outcome.SUCCEEDED, 200, requests=1, started_at=T0, finished_at=T0 + 0.1234,
                  sent="yes", verified_contacts_left=0, lockout_risk=True),
        ReportRow(["u2", "e2"], 2, Outcome.REFUSED, 422, HOSTILE, "=no\nway", 3, T0, T0 + 9, "yes",
        resent=True),
        ReportRow(["only"], 3, Outcome.INVALID, error_code="missing",
                  error_message="identifier_id is missing"),
        ReportRow(["u1", "e1"], 4, Outcome.DUPLICATE, duplicate_of=1),
        ReportRow(["u5", "e5"], 5, Outcome.EXCLUDED),
        ReportRow(["u6", "e6"], 6, Outcome.PENDING, sent="maybe", started_at=T0),
        ReportRow(["u7", "e7"], 7, Outcome.NOT_FOUND, 404, "not_found", "gone", 1, T0, T0 - 5, "yes"),
        ReportRow(["u8", "e8"], 8, Outcome.EXHAUSTED, 503, "http_503", "gave up", 6, T0, T0 + 60, "yes"),
        ReportRow(["u9", "e9", "more"], 9, Outcome.UNCONFIRMED, None, "timeout", "", 2, T0, T0 + 1, "yes"),
    ]  # fmt: skip


def facts_of(rows: list[ReportRow], **changes: object) -> RunFacts:
    outcomes = {outcome: sum(row.outcome is outcome for row in rows) for outcome in Outcome}
    session = SessionFacts(1, T0, T0 + 60, RunState.HALTED, HOSTILE, "ops@host", {"rate": "25/s"})
    values: dict[str, object] = {
        "run_id": "r-1", "state": RunState.HALTED, "operation": "unverify-email", "tenant": HOSTILE,
        "reason": HOSTILE, "operator": HOSTILE, "input_name": HOSTILE, "input_sha256": "ab", "header": HEADER,
        "planned_at": T0, "rows": len(rows), "outcomes": outcomes, "calls": 13, "retries": 8,
        "elapsed_s": 60.0,
        "halt_reason": HOSTILE, "sessions": (session,), "selection": {},
    }  # fmt: skip
    return RunFacts(**(values | changes))  # type: ignore[arg-type]  # a test's own table of values


def read_csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    rows = some_rows()
    write_all(tmp_path, facts_of(rows), iter(rows), exit_code=3, rate_per_s=25.0)
    return tmp_path


def test_report_holds_every_row_in_order(run_dir: Path) -> None:
    lines = read_csv(run_dir / "report.csv")
    assert lines[0] == [*HEADER, *REPORT_COLUMNS]
    assert [line[2] for line in lines[1:]] == [str(number) for number in range(1, 10)]
    assert lines[1] == [
        "u1", "e1", "1", "succeeded", "200", "", "", "1", "2026-09-21T14:13:20.000Z",
        "2026-09-21T14:13:20.123Z",
        "123", "yes", "", "0", "yes", "", "r-1",
    ]  # fmt: skip
    assert {len(line) for line in lines} == {17}
    assert lines[2][6] == "'=no\nway"
    assert lines[3][:2] == ["only", ""]
    assert lines[7][10] == "0", "a clock set back makes no negative duration"
    assert lines[9][:3] == ["u9", "e9", "9"]


def test_failed_holds_what_should_be_looked_at(run_dir: Path) -> None:
    lines = read_csv(run_dir / "failed.csv")
    assert [line[3] for line in lines[1:]] == ["refused", "invalid", "not_found", "exhausted", "unconfirmed"]
    assert lines[0] == [*HEADER, *REPORT_COLUMNS, "_broken_row"]


def test_files_are_the_owners_alone_and_nothing_is_left_over(run_dir: Path) -> None:
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in run_dir.iterdir()}
    names = {"report.csv", "failed.csv", "invalid.csv", "report.html", "summary.json", "manifest.json"}
    assert files == dict.fromkeys(names, 0o600)


def test_lines_end_in_crlf_and_a_lone_carriage_return_survives(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_csv(path, ("a",), [ReportRow(["x\ry"], 1, Outcome.PENDING)], "r")
    assert path.read_bytes().endswith(b"r\r\n")
    assert read_csv(path)[1][0] == "x\ry"


def test_undecodable_text_leaves_every_format_readable(tmp_path: Path) -> None:
    rows = [ReportRow(["a\udce9", "b"], 1, Outcome.INVALID)]
    for kind in ("csv", "jsonl", "parquet"):
        assert write_one(kind, tmp_path / kind, facts_of(rows), rows) == 1
    assert read_csv(tmp_path / "csv")[1][0] == "a\\udce9"
    assert json.loads((tmp_path / "jsonl").read_text("utf-8"))["input"]["user_id"] == "a\udce9"
    assert pyarrow.parquet.read_table(tmp_path / "parquet")["user_id"].to_pylist() == ["a\\udce9"]


def test_only_keeps_the_outcomes_asked_for_and_a_stream_stays_open() -> None:
    out = io.BytesIO()
    only = frozenset({Outcome.EXHAUSTED})
    assert write_one("csv", out, facts_of(some_rows()), iter(some_rows()), only) == 1
    assert out.getvalue().count(b"\r\n") == 2
    assert b"http_503" in out.getvalue()


def test_json_lines_keep_own_columns_apart() -> None:
    out = io.BytesIO()
    facts = facts_of(some_rows(), header=("_row", "_row"))
    write_one("jsonl", out, facts, some_rows())
    first = json.loads(out.getvalue().splitlines()[0])
    assert first["input"] == {"_row": "u1", "_row (2)": "e1"}
    assert (first["_row"], first["_lockout_risk"], first["_duration_ms"]) == (1, True, 123)
    assert tuple(first)[1:] == REPORT_COLUMNS


def test_parquet_is_typed_and_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_report, "ROWS_A_GROUP", 4)
    path = tmp_path / "r.parquet"
    write_parquet(path, ("_row", ""), iter(some_rows()), "r-1")
    table = pyarrow.parquet.read_table(path)
    assert pyarrow.parquet.ParquetFile(path).num_row_groups == 3
    assert table.column_names == ["_row (2)", "column 2", *REPORT_COLUMNS]
    first = table.slice(0, 1).to_pylist()[0]
    assert first["_finished_at"] == dt.datetime(2026, 9, 21, 14, 13, 20, 123000, tzinfo=dt.UTC)
    assert (first["_row"], first["_http_status"], first["_lockout_risk"]) == (1, 200, True)
    assert table["_error_code"].to_pylist()[0] is None


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"bulk-unverify\[parquet\]"):
        write_parquet(io.BytesIO(), HEADER, [], "r")


def test_page_escapes_whatever_others_chose(run_dir: Path) -> None:
    page = (run_dir / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 7
    assert "http://" not in page
    assert "https://" not in page
    assert "NOT COMPLETE: 1 of 9 rows have no final outcome yet" in page
    assert len(page) < 30_000


def test_rows_that_do_not_add_up_are_told_loudly(tmp_path: Path) -> None:
    rows = some_rows()
    written = write_all(
        tmp_path, facts_of(rows, state=RunState.FINISHED), rows[:-1], exit_code=1, rate_per_s=None
    )
    assert written.problems
    assert json.loads((tmp_path / "summary.json").read_text())["complete"] is False
    assert (
        "NOT COMPLETE: The report has 8 rows, but the input had 9." in (tmp_path / "report.html").read_text()
    )


def test_a_failing_source_leaves_the_old_report(run_dir: Path) -> None:
    before = (run_dir / "report.csv").read_bytes()

    def broken() -> Iterator[ReportRow]:
        yield some_rows()[0]
        raise LookupError

    with pytest.raises(LookupError):
        write_all(run_dir, facts_of(some_rows()), broken(), exit_code=3, rate_per_s=None)
    assert (run_dir / "report.csv").read_bytes() == before
    assert not list(run_dir.glob(".*"))


def test_destinations_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"), open_destination(tmp_path):
        pass
    with pytest.raises(UsageError, match="does not exist"), open_destination(tmp_path / "no" / "x.csv"):
        pass
    with pytest.raises(ReportError, match="No space"), open_destination(Path("/dev/full")) as out:
        out.write(b"x")
    with open_destination(Path("/dev/null")) as out:
        out.write(b"x")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(UsageError, match="no format"):
        write_one("xls", tmp_path / "x", facts_of([]), [])


def test_manifest_tells_what_was_changed(run_dir: Path) -> None:
    (run_dir / "run.log").write_text("one\n")
    with sqlite3.connect(run_dir / "ledger.sqlite") as ledger:
        ledger.execute("create table t(x)")
    ledger.close()
    write_manifest(run_dir, "r-1")
    assert "ledger.sqlite" in json.loads((run_dir / MANIFEST_NAME).read_text())["files"]
    (run_dir / "run.log").write_text("one\ntwo\n")
    assert verify_manifest(run_dir) == []
    (run_dir / "run.log").write_text("two\n")
    (run_dir / "failed.csv").unlink()
    (run_dir / "report.csv").write_text("")
    told = " ".join(verify_manifest(run_dir))
    assert all(name in told for name in ("run.log", "failed.csv", "report.csv"))
    assert "summary.json" not in told


def test_manifest_leaves_out_a_ledger_in_use_and_mistrusts_names(run_dir: Path) -> None:
    (run_dir / "ledger.sqlite").touch()
    (run_dir / "ledger.sqlite-wal").touch()
    path = write_manifest(run_dir, "r-1")
    manifest = json.loads(path.read_text())
    assert "ledger.sqlite" in manifest["left_out"]
    assert "ledger.sqlite" not in manifest["files"]
    manifest["files"]["../../etc/passwd"] = manifest["files"]["report.csv"]
    path.write_text(json.dumps(manifest))
    assert "no file of a run folder" in verify_manifest(run_dir)[0]
    path.write_text("{}")
    assert "not a manifest" in verify_manifest(run_dir)[0]
    path.unlink()
    assert "could not be read" in verify_manifest(run_dir)[0]
