"""Where the key comes from, in which order, and that no error shows it."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from worker.compose.signing import read_signing_key
from worker.connection import ApiKey, default_timeout_s, load_key
from worker.errors import ConfigurationError

NAME = "MONOCLOUD_MANAGEMENT_API_KEY"
TIMEOUT = "MONOCLOUD_MANAGEMENT_TIMEOUT"
KEY = "sk-0123456789-secret"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (NAME, f"{NAME}_FILE", "CREDENTIALS_DIRECTORY", TIMEOUT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("worker.connection.key._CONTAINER_SECRETS", tmp_path / "run-secrets")


def written(path: Path, text: str | bytes = KEY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return path


def refused() -> str:
    """Return the sentence that `load_key` refuses with; neither it nor what caused it may show the key."""
    with pytest.raises(ConfigurationError) as caught:
        load_key()
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_the_sources_in_their_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    credential = "monocloud_management_api_key"
    written(tmp_path / "run-secrets" / credential, "from-container")
    assert load_key().reveal() == "from-container"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "systemd"))
    assert load_key().reveal() == "from-container"
    written(tmp_path / "systemd" / credential, "from-systemd")
    assert load_key().reveal() == "from-systemd"
    monkeypatch.setenv(f"{NAME}_FILE", str(written(tmp_path / "key", "from-file")))
    assert load_key().reveal() == "from-file"
    monkeypatch.setenv(NAME, "from-environment")
    assert load_key().reveal() == "from-environment"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_files_last_line_end_is_not_part_of_the_key(
    end: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(f"{NAME}_FILE", str(written(tmp_path / "key", KEY + end)))
    assert load_key().reveal() == KEY


WRONG = {
    "a line break": "sk-\nsecret",
    "a second line": "sk-secret\n\n",
    "a space": "sk- secret",
    "a space at its end": "sk-secret ",
    "a tab": "sk-\tsecret",
    "no ASCII": "sk-sécret-secret",
    "too long": "secret" * 1000,
    "a control character": "sk-\x7fsecret",
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_what_is_no_key_is_refused_unseen(
    value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(f"{NAME}_FILE", str(written(tmp_path / "file", value)))
    assert str(tmp_path / "file") in refused()
    monkeypatch.setenv(NAME, value)
    assert NAME in refused()


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_a_blank_variable_counts_as_not_set(
    blank: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(NAME, blank)
    monkeypatch.setenv(f"{NAME}_FILE", blank)
    assert f"Set {NAME}_FILE" in refused()
    written(tmp_path / "run-secrets" / "monocloud_management_api_key", KEY)
    assert load_key().reveal() == KEY
    monkeypatch.setenv(f"{NAME}_FILE", str(written(tmp_path / "file", blank)))
    assert str(tmp_path / "file") in refused()


def test_of_a_file_no_more_is_read_than_a_key_may_have(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(f"{NAME}_FILE", str(written(tmp_path / "file", "k" * 4096 + "\n")))
    assert load_key().reveal() == "k" * 4096
    written(tmp_path / "file", "k" * 4097)
    assert "more than 4096 characters" in refused()
    monkeypatch.setenv(f"{NAME}_FILE", "/dev/zero")
    assert "more than 4096 characters" in refused()


def test_a_key_that_is_no_text_is_refused_unseen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(f"{NAME}_FILE", str(written(tmp_path / "file", b"\xff\xfesecret")))
    assert "not text" in refused()
    monkeypatch.setenv(NAME, "\udcffsecret")
    assert NAME in refused()


def test_a_named_file_must_be_there_and_readable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "missing"))
    assert "does not exist" in refused()
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path))
    assert "Is a directory" in refused()


def test_without_any_it_says_what_to_set() -> None:
    assert f"Set {NAME}_FILE" in refused()


def test_a_key_shows_itself_only_when_asked() -> None:
    key = ApiKey(KEY)
    assert KEY not in f"{key} {key!r} {[key]} {vars(key)}"
    assert key.reveal() == KEY


@pytest.mark.parametrize(
    ("set_to", "seconds"), [(None, 10.0), ("10000", 10.0), ("1500", 1.5), ("0.5", 0.0005)]
)
def test_the_time_limit_is_in_milliseconds(
    set_to: str | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if set_to is not None:
        monkeypatch.setenv(TIMEOUT, set_to)
    assert default_timeout_s() == seconds


@pytest.mark.parametrize("set_to", ["", "0", "-1", "10s", "nan", "inf", "1e999"])
def test_another_time_limit_is_refused(set_to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT, set_to)
    with pytest.raises(ConfigurationError, match=TIMEOUT):
        default_timeout_s()


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o604, 0o602, 0o640, 0o620, 0o444])
def test_a_file_that_others_can_read_or_change_is_refused_and_the_advice_mends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int
) -> None:
    path = written(tmp_path / "my keys" / "file")
    path.chmod(mode)
    monkeypatch.setenv(f"{NAME}_FILE", str(path))
    said = refused()
    assert f"{mode:04o}" in said
    advice = said.partition("): ")[2].partition(". If")[0]
    subprocess.run(shlex.split(advice), check=True)
    assert load_key().reveal() == KEY


@pytest.mark.parametrize("link", [True, False])
def test_where_a_container_or_systemd_put_it_the_mode_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, link: bool
) -> None:
    path = written(tmp_path / "run-secrets" / "monocloud_management_api_key")
    path.chmod(0o444)
    if link:
        monkeypatch.setenv(f"{NAME}_FILE", str(path))
    assert load_key().reveal() == KEY


def test_a_group_may_read_what_an_administrator_handed_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = written(tmp_path / "file")
    monkeypatch.setenv(f"{NAME}_FILE", str(path))
    monkeypatch.setattr("worker.connection.key.os.geteuid", lambda: path.stat().st_uid + 1)
    path.chmod(0o440)
    assert load_key().reveal() == KEY
    path.chmod(0o444)
    assert "its owner has to" in refused()


def test_a_pipe_is_read_whatever_its_mode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, KEY.encode())
    os.close(writer)
    monkeypatch.setenv(f"{NAME}_FILE", f"/dev/fd/{reader}")
    assert load_key().reveal() == KEY
    os.close(reader)


def test_a_signing_key_is_kept_like_a_key(tmp_path: Path) -> None:
    path = written(tmp_path / "signing")
    assert read_signing_key(path) == KEY.encode()
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_signing_key(path)
