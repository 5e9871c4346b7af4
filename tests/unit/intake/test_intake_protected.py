"""The protected list is read whole or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import InputError
from worker.intake import load_protected


def load(tmp_path: Path, data: str | bytes) -> frozenset[str]:
    path = tmp_path / "protected"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return load_protected(path)


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
    assert load(tmp_path, data) == {"u-1", "i-2"}


def test_a_report_is_unescaped(tmp_path: Path) -> None:
    assert load(tmp_path, "user_id,_row\n'=u,1\n") == {"=u"}


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
