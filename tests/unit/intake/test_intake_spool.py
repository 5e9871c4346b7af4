"""What can be read only once is kept in a private file for as long as it is needed."""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from worker.errors import InputError
from worker.intake import InputOptions, is_stream, open_table, spooled

GOOD = b"user_id,identifier_id\nu-1,i-1\n"


def pipe(tmp_path: Path, data: bytes) -> Path:
    """Return a named pipe that somebody writes `data` to, once."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(data,), daemon=True).start()
    return path


def give_stdin(monkeypatch: pytest.MonkeyPatch, file: object) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))


def test_what_is_a_stream(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    assert [is_stream(path) for path in (Path("-"), tmp_path / "pipe", tmp_path / "link")] == [True] * 3
    assert is_stream(Path("/dev/zero"))
    for path in (tmp_path, tmp_path / "file", tmp_path / "none", Path("a\0b")):
        assert not is_stream(path)


def test_a_pipe_is_kept_for_its_owner_alone_while_it_is_needed(tmp_path: Path) -> None:
    with spooled(pipe(tmp_path, GOOD), tmp_path / "spool") as path:
        assert path.read_bytes() == path.read_bytes() == GOOD
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    reading, writing = os.pipe()
    os.write(writing, GOOD)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        give_stdin(monkeypatch, stream)
        with spooled(Path(name), tmp_path) as path:
            assert path.read_bytes() == GOOD


def test_sentences_name_the_stream_and_not_its_copy(tmp_path: Path) -> None:
    source = pipe(tmp_path, b"user_id\nu-1\n")
    spool = tmp_path / "spool"
    with (
        pytest.raises(InputError, match="pipe has no column identifier_id") as refused,
        spooled(source, spool) as path,
        open_table(path, InputOptions()),
    ):
        pass
    assert "spool" not in str(refused.value)
    assert list(spool.iterdir()) == []


def test_a_device_without_an_end_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="/dev/zero is a device"), spooled(Path("/dev/zero"), tmp_path):
        pass
    with Path("/dev/zero").open("rb") as zeros:
        give_stdin(monkeypatch, zeros)
        with pytest.raises(InputError, match="Standard input is a device"), spooled(Path("-"), tmp_path):
            pass
    with spooled(Path("/dev/null"), tmp_path) as path:
        assert path.read_bytes() == b""
    assert list(tmp_path.iterdir()) == []


class _Torn(io.RawIOBase):
    """A pipe from a machine that went away."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def read(self, _size: int = -1) -> bytes:
        raise OSError(5, "Input/output error")


def test_a_stream_that_cannot_be_read_or_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        give_stdin(monkeypatch, stream)
        with pytest.raises(InputError, match="Standard input could not be kept"):
            spooled(Path("-"), tmp_path / "file").__enter__()
        give_stdin(monkeypatch, _Torn(stream.fileno()))
        with pytest.raises(InputError, match="Standard input cannot be read"):
            spooled(Path("-"), tmp_path / "spool").__enter__()
    assert list((tmp_path / "spool").iterdir()) == []
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="Standard input is closed"):
        spooled(Path("-"), tmp_path).__enter__()
    with pytest.raises(InputError, match="does not exist"):
        spooled(tmp_path / "none", tmp_path).__enter__()


def test_copies_of_killed_processes_are_removed_and_those_in_use_stay(tmp_path: Path) -> None:
    left_behind = tmp_path / ".spooled-of-a-killed-one.input"
    left_behind.touch()
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    runs = tmp_path
    with (
        spooled(pipe(tmp_path / "first", GOOD), runs) as first,
        spooled(pipe(tmp_path / "second", GOOD), runs) as second,
    ):
        assert not left_behind.exists()
        assert first != second
        assert first.read_bytes() == second.read_bytes() == GOOD
