"""Whatever an id's spelling: it is sent, found and protected as what it is, by a table of what is one id."""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
import unicodedata
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import InputError
from worker.identifiers import are_canonical, canonical, find_guid, key_of
from worker.intake import load_protected
from worker.model import Row
from worker.protection import is_protected

GUIDS = st.uuids().map(str)
UNSEEN = st.text(
    st.sampled_from(" \t\u00a0\u00ad\u200b\u200e\u2007\u2060\ufeff\u3000\ufe0f\u180e\u2800"), max_size=3
)
USERS = st.from_regex(r"[A-Za-z0-9_-]{21}", fullmatch=True).filter(lambda id_: re.search("[a-zA-Z]", id_))


def _in_parts(guid: str) -> str:
    value = uuid.UUID(guid)
    rest = ",".join(f"0x{byte:02x}" for byte in value.bytes[8:])
    return f"{{0x{value.time_low:08x},0x{value.time_mid:04x},0x{value.time_hi_version:04x},{{{rest}}}}}"


FORMS = (
    str,
    lambda guid: guid.replace("-", ""),
    lambda guid: f"{{{guid}}}",
    lambda guid: f"({guid})",
    lambda guid: f"urn:uuid:{guid}",
    lambda guid: f"{{{guid.replace('-', '')}}}",
    lambda guid: guid.replace("-", "\u2011"),
    lambda guid: guid.replace("-", "\u2013"),
    _in_parts,
)


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a GUID as it is sent, and one of its spellings."""
    guid = draw(GUIDS)
    written = draw(st.sampled_from(FORMS))(guid)
    cased = "".join(letter.upper() if draw(st.booleans()) else letter for letter in written)
    return guid, f"{draw(UNSEEN)}{draw(st.sampled_from([written, written.upper(), cased]))}{draw(UNSEEN)}"


@given(spellings())
def test_every_spelling_of_a_guid_is_that_guid(drawn: tuple[str, str]) -> None:
    guid, written = drawn
    assert canonical(written) == find_guid(written) == key_of(written) == guid
    assert are_canonical([written, guid]) is (written == guid)


@given(spellings(), spellings())
def test_a_row_is_protected_by_any_spelling_and_by_no_other_guid(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    keys = frozenset({key_of(one[1])})
    assert is_protected(Row(1, "u", one[1]), keys)
    assert is_protected(Row(1, one[1], "i"), keys)
    assert is_protected(Row(1, "u", other[1]), keys) is (one[0] == other[0])


@given(GUIDS, st.sampled_from(["drop", "add", "swap", "brace", "letter"]), st.integers(0, 35))
def test_what_is_nearly_a_guid_is_none_and_is_sent_as_it_stands(guid: str, how: str, place: int) -> None:
    place -= guid[place] == "-"
    wrong = {
        "drop": guid[:place] + guid[place + 1 :],
        "add": guid[:place] + "0" + guid[place:],
        "swap": f"{guid[:8]}{guid[9:12]}-{guid[12:]}",
        "brace": f"{{{guid}",
        "letter": guid[:place] + "g" + guid[place + 1 :],
    }[how]
    assert find_guid(wrong) is None
    assert canonical(wrong) == wrong


@given(st.lists(st.one_of(GUIDS, st.text(max_size=40)), max_size=5))
def test_many_at_once_are_what_each_of_them_is(ids: list[str]) -> None:
    as_sent = all(re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", id_) for id_ in ids)
    assert are_canonical(ids) is as_sent


def test_nothing_that_nobody_sees_counts() -> None:
    unseen = [
        mark
        for mark in map(chr, range(sys.maxunicode + 1))
        if mark.isspace() or unicodedata.category(mark) in {"Cf", "Zs", "Zl", "Zp"}
    ]
    assert [mark for mark in unseen if key_of(f"{mark}u-2{mark}") != "u-2"] == []


@given(st.text())
def test_the_key_of_a_key_is_itself(id_: str) -> None:
    assert key_of(key_of(id_)) == key_of(id_)


@given(USERS, st.text(st.sampled_from("\u200b\u00a0 \t\u2060"), max_size=2))
def test_a_user_id_is_opaque_but_for_what_nobody_sees(user: str, unseen: str) -> None:
    keys = frozenset({key_of(f"{unseen}{user}")})
    assert is_protected(Row(1, f"{user}{unseen}", "i"), keys)
    assert not is_protected(Row(1, user.swapcase(), "i"), keys)
    assert canonical(user) == user


AROUND = (
    ("'", "'"),
    ("\u2018", "\u2019"),
    ("\u201c", "\u201d"),
    ("\u00ab", "\u00bb"),
    ("`", "`"),
    ("", "."),
    ("", ","),
    ("", ";"),
    ("", "#ceo"),
    ("", " # ceo"),
    ("", "\t# ceo"),
    ("mailto:", ""),
    ("id:", ""),
    ("<", ">"),
    ("- ", ""),
    ("1. ", ""),
    ("\u2022", ""),
    ("\u200b", "\ufeff"),
    ('"', '"'),
    ('"', '"  # ceo'),
    ('"', '",'),
    ("", "|x"),
    ("", ""),
)


@pytest.mark.parametrize("header", ["", "user_id\n", "identifier_id\n"])
@given(
    st.one_of(USERS.filter(lambda id_: id_[0] != "-"), spellings().map(lambda drawn: drawn[1])),
    st.sampled_from(AROUND),
    st.sampled_from(AROUND),
)
def test_an_entry_is_protected_or_its_list_is_refused(
    header: str, id_: str, inner: tuple[str, str], outer: tuple[str, str]
) -> None:
    """Whatever a person puts around an id: he is told, or it holds."""
    entry = f"{outer[0]}{inner[0]}{id_}{inner[1]}{outer[1]}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "keep.txt")
        path.write_text(f"{header}{entry}\n", encoding="utf-8")
        with contextlib.suppress(InputError):  # then nobody is called
            assert is_protected(Row(1, id_, "i"), load_protected(path).keys)
