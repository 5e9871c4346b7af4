"""What one pass learns stays small, and the charts keep its sums."""

from worker.causes import MOST_KINDS
from worker.model import Outcome
from worker.report import charts, tally
from worker.report.tally import Tally
from worker.reportable import ReportRow


def called(number: int, finished_at: float, outcome: Outcome = Outcome.SUCCEEDED) -> ReportRow:
    return ReportRow(
        [], number, outcome, error_code=f"c{number}", requests=2, started_at=0.0, finished_at=finished_at
    )


def test_memory_is_bounded_and_nothing_is_lost() -> None:
    rows = 3 * tally.MOST_BUCKETS
    counted = Tally()
    counted.add(
        called(number, number * 7.0, Outcome.REFUSED if number % 2 else Outcome.SUCCEEDED)
        for number in range(1, rows + 1)
    )
    assert len(counted.finished) <= tally.MOST_BUCKETS
    assert len(counted.causes) <= MOST_KINDS + 1
    assert sum(cause.rows for cause in counted.causes.commonest(rows)) == rows // 2
    assert len(counted.durations_ms) < rows
    assert sum(counted.finished.values()) == 2 * rows
    assert sum(counted.failed.values()) == rows
    assert sum(counted.durations_ms.values()) == rows
    assert counted.misplaced == 0
    shown = charts.timeline(counted)
    assert shown is not None
    assert len(shown.bars) <= charts.MOST_BARS
    assert round(sum(bar.value for bar in shown.bars) * shown.bar_s) == 2 * rows
    assert sum(bar.value for bar in charts.durations(counted.durations_ms)) == rows


def test_a_missing_row_is_noticed() -> None:
    counted = Tally()
    counted.add([called(1, 1.0), called(3, 1.0)])
    assert counted.misplaced == 1


def test_percentiles_are_the_nearest_rank() -> None:
    assert charts.percentiles_ms(dict.fromkeys(range(1, 101), 1)) == {50: 50, 90: 90, 99: 99, 100: 100}
    assert charts.percentiles_ms({}) == {}


def test_why_rows_failed_is_kept_apart_from_why_they_were_not_called() -> None:
    """Rows that are pending again have failed, too: they are the evidence of a halt."""
    counted = Tally()
    counted.add(
        [
            *(
                ReportRow([], number, Outcome.INVALID, None, "wrong_columns", "3 columns")
                for number in (1, 2, 3)
            ),
            ReportRow([], 4, Outcome.REFUSED, 403, "http_403", "Forbidden"),
            ReportRow([], 5, Outcome.PENDING, 403, "http_403", "Forbidden"),
            ReportRow([], 6, Outcome.PENDING),
            ReportRow([], 7, Outcome.SUCCEEDED, 200),
        ]
    )
    assert str(counted.causes) == "2 × 403 http_403: Forbidden"
    assert str(counted.left_out) == "3 × wrong_columns: 3 columns"
