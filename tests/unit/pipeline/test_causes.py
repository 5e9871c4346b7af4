"""What failed, counted: the words of a halt."""

from __future__ import annotations

from worker import causes
from worker.causes import Causes


def counted(*failures: tuple[int | None, str, str]) -> Causes:
    found = Causes()
    for failure in failures:
        found.add(*failure)
    return found


def test_the_commonest_come_first_with_their_counts() -> None:
    found = counted(
        *[(403, "http_403", "Request blocked by policy 7.")] * 751,
        *[(None, "timeout", "no answer in 10 s")] * 3,
        *[(None, "timeout", "no answer in 11 s")] * 2,
    )
    assert str(found) == (
        "751 × 403 http_403: Request blocked by policy 7; 5 × timeout, 3 of them: no answer in 10 s"
    )


def test_messages_that_name_each_row_are_shown_by_one() -> None:
    found = counted(*[(404, "http_404", f"user{number} is gone") for number in range(1000)])
    assert str(found) == "1,000 × 404 http_404, such as: user0 is gone"


def test_what_is_not_shown_is_counted() -> None:
    found = counted(*[(422, f"c{number}", "") for number in range(5)])
    assert str(found) == "1 × 422 c0; 1 × 422 c1; 1 × 422 c2; and 2 other kinds"


def test_memory_is_bounded_and_nothing_is_lost() -> None:
    found = counted(*[(400, f"c{number}", f"m{number}") for number in range(3 * causes.MOST_KINDS)])
    assert len(found) == causes.MOST_KINDS + 1
    assert sum(cause.rows for cause in found.commonest(10**6)) == 3 * causes.MOST_KINDS
    assert found.commonest(1)[0].error_code == causes.OTHER_CODES


def test_nothing_is_nothing() -> None:
    assert str(Causes()) == ""
