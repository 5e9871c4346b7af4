"""Text of others on its way to a terminal or a page."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.printable import shown


@given(st.text())
def test_nothing_steers_a_terminal_and_nothing_is_lost(text: str) -> None:
    told = shown(text)
    assert not {unicodedata.category(char) for char in told} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert shown(told) == told
    assert len(told) >= len(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("batch.csv", "batch.csv"),
        ("Zoë's 名簿 - März", "Zoë's 名簿 - März"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x9b31m", r"\x9b31m"),
        ("gnp.\u202efdp", r"gnp.\u202efdp"),
        ("x\u2028y\ufeff", r"x\u2028y\ufeff"),
        ("\udcff", r"\udcff"),
    ],
)
def test_what_is_plain_stays_and_what_is_not_is_written_out(text: str, told: str) -> None:
    assert shown(text) == told
