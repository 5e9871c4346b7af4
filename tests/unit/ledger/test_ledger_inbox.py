from __future__ import annotations

import dataclasses
import errno
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from worker.errors import UsageError
from worker.ledger import Command, post_command, take_commands


def test_commands_are_taken_once_in_the_order_they_were_left(tmp_path: Path) -> None:
    asked = [Command(name="rate", rate=f"{number}/s", operator="ann@host") for number in range(1, 30)]
    for command in asked:
        post_command(tmp_path, command)
    assert take_commands(tmp_path).commands == asked
    assert take_commands(tmp_path).commands == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", '{"name": "explode"}', '{"name": "pause", "more": 1}', "\udcff"])
def test_what_is_no_command_is_set_aside_and_stops_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "0.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    post_command(tmp_path, Command(name="pause"))
    assert take_commands(tmp_path).commands == [Command(name="pause")]
    assert [path.name for path in tmp_path.iterdir()] == ["0.bad"]


def test_a_folder_in_the_place_of_a_command_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "0.json").mkdir()
    assert take_commands(tmp_path).commands == []
    assert take_commands(tmp_path).commands == []


def test_a_link_to_nowhere_is_set_aside(tmp_path: Path) -> None:
    """Found by a reviewer: it ended the session as a defect."""
    (tmp_path / "1.json").symlink_to(tmp_path / "nowhere")
    post_command(tmp_path, Command(name="pause"))
    assert take_commands(tmp_path).commands == [Command(name="pause")]
    assert [path.name for path in tmp_path.iterdir()] == ["1.bad"]


def test_a_command_being_written_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Command]] = []
    write = Path.write_text

    def peek(path: Path, *values: str, **named: str) -> int:
        written = write(path, *values, **named)
        seen.append(take_commands(tmp_path).commands)
        assert path.stat().st_mode & 0o777 == 0o600
        return written

    monkeypatch.setattr(Path, "write_text", peek)
    post_command(tmp_path, Command(name="cancel"))
    assert seen == [[]]
    assert take_commands(tmp_path).commands == [Command(name="cancel")]


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("make", [os.mkfifo, make_socket])
def test_a_pipe_or_a_socket_is_set_aside_and_nobody_is_waited_for(
    tmp_path: Path, make: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    make(Path("00.json"))
    post_command(tmp_path, Command(name="pause"))
    signal.alarm(5)
    try:
        taken = take_commands(tmp_path)
    finally:
        signal.alarm(0)
    assert taken.commands == [Command(name="pause")]
    assert len(taken.unread) == 1
    assert "00.json" in taken.unread[0]
    assert "set aside as 00.bad" in taken.unread[0]


def test_a_device_that_never_ends_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "0.json").symlink_to("/dev/zero")
    assert take_commands(tmp_path).commands == []
    (tmp_path / "1.json").write_bytes(b" " * 1_000_000)
    assert "holds no command" in take_commands(tmp_path).unread[0]


def test_without_a_file_to_open_a_command_stays_for_the_next_time(tmp_path: Path) -> None:
    post_command(tmp_path, Command(name="cancel"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        none, told = dataclasses.astuple(take_commands(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert none == []
    assert "Too many open files" in told[0]
    assert take_commands(tmp_path).commands == [Command(name="cancel")]


def test_a_command_that_cannot_be_removed_is_not_carried_out_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_read(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    post_command(tmp_path, Command(name="cancel"))
    monkeypatch.setattr(Path, "unlink", only_read)
    taken = take_commands(tmp_path)
    assert taken.commands == []
    assert "Read-only file system" in taken.unread[0]


@pytest.mark.parametrize("there", [True, False])
def test_an_inbox_that_cannot_be_looked_into_is_told(tmp_path: Path, there: bool) -> None:
    inbox = tmp_path / "inbox"
    if there:
        inbox.touch()
    assert "cannot be looked into" in take_commands(inbox).unread[0]


def test_an_inbox_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot leave a command in"):
        post_command(tmp_path / "missing", Command(name="pause"))


def test_an_inbox_on_media_that_is_only_read_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_read(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "touch", only_read)
    monkeypatch.setattr(Path, "unlink", only_read)
    with pytest.raises(UsageError, match="Read-only file system"):
        post_command(tmp_path, Command(name="pause"))


def test_a_command_reads_as_a_person_would_say_it() -> None:
    assert str(Command(name="pause")) == "pause"
    assert str(Command(name="rate", rate="20/s", operator="ann@host")) == "rate 20/s (by ann@host)"


def test_only_what_was_left_before_a_moment_is_taken(tmp_path: Path) -> None:
    post_command(tmp_path, Command(name="pause"))
    between = time.time_ns()
    post_command(tmp_path, Command(name="cancel"))
    assert take_commands(tmp_path, before_ns=between).commands == [Command(name="pause")]
    assert take_commands(tmp_path).commands == [Command(name="cancel")]


def test_a_command_that_may_not_be_read_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    post_command(tmp_path, Command(name="pause"))
    monkeypatch.setattr(os, "open", refuse)
    assert take_commands(tmp_path).commands == []
    assert [path.suffix for path in tmp_path.iterdir()] == [".bad"]


def test_a_command_of_root_belongs_to_the_user_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run under systemd has its own user; who is woken at night types `sudo`."""
    given: list[tuple[int, int]] = []
    owner = tmp_path.stat()
    monkeypatch.setattr(os, "geteuid", lambda: owner.st_uid + 1)
    monkeypatch.setattr(os, "chown", lambda _, uid, gid: given.append((uid, gid)))
    post_command(tmp_path, Command(name="pause"))
    assert given == [(owner.st_uid, owner.st_gid)]
