"""The protected list is read whole or refused, and protects whatever it may mean."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from worker.errors import InputError
from worker.identifiers import key_of, visible
from worker.intake import load_protected


def load(tmp_path: Path, data: str | bytes) -> frozenset[str]:
    path = tmp_path / "protected"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return load_protected(path).keys


@pytest.mark.parametrize(
    "data",
    [
        "u-1\n# the board\n\ni-2  # the CEO\n",
        "u-1\r\ni-2\r\n",
        '"u-1"\n"i-2"',
        "# list\nuser_id\nu-1\ni-2\n",
        "identifier_id;name\nu-1;x\ni-2;y\n",
        "user_id,identifier_id\nu-1,i-2\n,\n",
        "user_id,identifier_id,_row,_outcome\nu-1,,1,invalid\n,i-2,2,invalid\n",
        '{"user_id":"u-1","identifier_id":"i-2"}\n',
    ],
)
def test_forms_of_a_protected_list(tmp_path: Path, data: str) -> None:
    assert load(tmp_path, data) >= {"u-1", "i-2"}


def test_a_report_is_unescaped(tmp_path: Path) -> None:
    assert load(tmp_path, "user_id,_row\n'=u,1\n") >= {"=u"}


@pytest.mark.parametrize(
    "data",
    [
        "",
        "# nobody\n\n",
        "user_id,identifier_id\n",
        "user_id,identifier_id\nu-1\n",
        'user_id,identifier_id\nu-1,"i-1\n',
        "u-1,i-1\nu-2,i-2\n",
        "two words\n",
        b"u-\xff\n",
        b"PAR1\0\0",
        '{"user_id":"u","identifier_id":"i"}\n[]\n',
    ],
)
def test_a_broken_protected_list_is_refused(tmp_path: Path, data: str | bytes) -> None:
    with pytest.raises(InputError, match="protected"):
        load(tmp_path, data)


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        ("u-1\n#x\n", {"#x"}),
        ("u-1\n#x y\n", {"#x y"}),
        ('u-1\n"#x"  # the CEO\n', {"#x"}),
        ('"#x"\n', {"#x"}),
        ("u-1\ni-2 #x\n", {"i-2", "i-2 #x"}),
        ('"u 1"\n"a,b"\n"say ""so"""\n', {"u 1", "a,b", 'say "so"'}),
        ('"\'u\'"\n"u."\n"[u]"  # so\n"mailto:u"\n', {"'u'", "u.", "[u]", "mailto:u"}),
        (" u-1 \n", {"u-1"}),
        ("a\n\ufeffu-1\n", {"u-1"}),
        ("auth0|u-1\n", {"auth0|u-1", "auth0", "u-1"}),
        ("u-1\t# the CEO\n", {"u-1"}),
        ("user_id\n'u-1'\n\u201cu-2\u201d\nu-3#ceo\nmailto:u-4\nu-5.\n", {"u-1", "u-2", "u-3", "u-4", "u-5"}),
        ("user_id\n'u-1'\nu-3#ceo\n", {"'u-1'", "u-3#ceo"}),
        ('{"user_id":"\'u-1\'","identifier_id":"<i-2>"}\n', {"u-1", "i-2"}),
        ("user_id,identifier_id\n#x,i-2\n", {"#x", "i-2"}),
        ("user_id,identifier_id\nu-1, i-2 \n", {"u-1", "i-2"}),
        ("user_id,identifier_id\nu-1,i-2\n# u-3,i-3\n", {"# u-3", "i-3"}),
        ("user_id,identifier_id\nu-1,i-2\n# one, two, three\n#\n", {"u-1", "i-2"}),
        ("user_id\n#x\n", {"#x"}),
        ("#x\nuser_id\nu-1\n", {"#x", "u-1"}),
        ("sub\nu-1\n", {"sub", "u-1"}),
        ('{"user_id":"#x","identifier_id":" i "}\n', {"#x", "i"}),
    ],
)
def test_whatever_may_be_an_id_is_protected(tmp_path: Path, data: str, ids: set[str]) -> None:
    assert load(tmp_path, data) >= ids


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("user_id,identifier_id\nu-1,i-1\n#x\n", 3),
        ('user_id,note\n"u-1","a\nb"\nu-2\n', 4),
        ('user_id,note\nu-1,a\n"u-2","b\nc"x\n', 3),
        ("u-1\n" + "x" * 2_000_000 + "\nu-2\n", 2),
        ('{"user_id":"u-1","user_id":"u-2","identifier_id":"i"}\n', 1),
        ('{"user_id":{"id":"u-1"},"identifier_id":"i"}\n', 1),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path, data: str, line: int) -> None:
    with pytest.raises(InputError, match=f"protected: line {line} "):
        load(tmp_path, data)


@pytest.mark.parametrize(
    "entry",
    [
        "'u-1'",
        "\u2018u-1\u2019",
        "\u201cu-1\u201d",
        "\u201eu-1\u201c",
        "\u00abu-1\u00bb",
        "`u-1`",
        "\u00b4u-1\u00b4",
        "u-1'",
        "\u200b'u-1'\u200b",
        "u-1.",
        "u-1:",
        "u-1!",
        "u-1\u3002",
        "u-1#ceo",
        "mailto:u-1",
        "MAILTO:u-1",
        "id=u-1",
        "https://a.example/users/u-1",
        "<u-1>",
        "[u-1]",
        "(u-1)",
        "{u-1}",
        "\u2022u-1",
        "**u-1**",
        "|u-1|",
        "...",
    ],
)
def test_an_entry_that_can_be_read_in_two_ways_is_refused_and_the_advice_works(
    tmp_path: Path, entry: str
) -> None:
    with pytest.raises(InputError, match=r"protected: line 2 can be read in two ways: .* double quotes"):
        load(tmp_path, f"u-0\n{entry}\n")
    assert load(tmp_path, f'u-0\n"{entry}"\n') >= {visible(entry)}


@pytest.mark.parametrize(
    "entry",
    ["6cec8047-6149-4d9b-8d99-91c83c22a9dc", "{6CEC8047-6149-4D9B-8D99-91C83C22A9DC}", "-aB3_x-", "a=="],
)
def test_an_entry_that_is_clear_is_taken(tmp_path: Path, entry: str) -> None:
    assert key_of(entry) in load(tmp_path, f"{entry}\n")


def test_it_tells_how_many_ids_it_names_and_of_which_bytes(tmp_path: Path) -> None:
    data = "# board\nu-1\n u-1\nU-1\n{6CEC8047-6149-4D9B-8D99-91C83C22A9DC}\n6cec804761494d9b8d9991c83c22a9dc"
    (tmp_path / "keep.txt").write_text(data)
    read = load_protected(tmp_path / "keep.txt")
    assert read.named == {"u-1", "U-1", "6cec8047-6149-4d9b-8d99-91c83c22a9dc"}
    assert (read.path, read.sha256) == (tmp_path / "keep.txt", hashlib.sha256(data.encode()).hexdigest())
    assert not read.is_ended


def test_a_list_that_can_be_read_only_once_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), Path("-")):
        with pytest.raises(InputError, match=r"read only once.*write it to a file"):
            load_protected(path)
