"""The run's log: JSON lines in a private file, and no key in any form."""

import base64
import json
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.typing import FilteringBoundLogger

from worker import logs, redaction
from worker.errors import ConfigurationError

KEY = "sk-Zq7+/w8\"X%41\\e'9-tail"
USER = "UOtBaOybB6dTpIJNrnkRw"


def logged(tmp_path: Path, write: Callable[..., None], *, key: str = KEY) -> dict[str, object]:
    path = tmp_path / "run.log"
    with logs.configure(path, key=key) as log:
        write(log)
    (line,) = path.read_text(encoding="utf-8").splitlines()
    return json.loads(line)


def test_a_line_is_json_with_level_and_utc_time(tmp_path: Path) -> None:
    line = logged(tmp_path, lambda log: log.warning("paused", for_s=1.5, rows=3, why=None, again=True))
    assert str(line.pop("timestamp")).endswith("Z")
    expected = {"event": "paused", "level": "warning", "for_s": 1.5, "rows": 3, "why": None, "again": True}
    assert line == expected


def test_the_file_is_private_appended_to_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_text('{"event": "before"}\n', encoding="utf-8")
    path.chmod(0o644)
    with logs.configure(path, key=KEY) as log:
        log.info("one")
        assert len(path.read_text(encoding="utf-8").splitlines()) == 2  # not only at the end
        log.debug("left out")
    with pytest.raises(ValueError, match="closed file"):
        log.info("too late")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    events = [json.loads(line)["event"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert events == ["before", "one"]


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match=r"run\.log cannot be opened: No such file"),
        logs.configure(tmp_path / "missing" / "run.log", key=KEY),
    ):
        pytest.fail("opened")


def test_a_full_disk_leaves_lines_out_and_the_next_line_says_how_many(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with logs.configure(path, key=KEY) as log:
            log.info("one")
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 9, room[1]))
            log.info("begins to fit")
            log.error("does not fit at all")
            resource.setrlimit(resource.RLIMIT_FSIZE, room)
            log.info("fits")
            log.info("fits too")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
        signal.signal(signal.SIGXFSZ, ignored)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["event"] for line in lines] == ["one", "lines_left_out", "fits", "fits too"]
    assert lines[1]["lines"] == 2


def test_identifiers_are_masked_wherever_they_stand(tmp_path: Path) -> None:
    line = logged(
        tmp_path,
        lambda log: log.info(
            "row", user_id=USER, identifier_id="42", rows=[{"user_id": USER}], user_ids=[USER, "43"]
        ),
    )
    assert line["user_id"] == redaction.mask(USER)
    assert str(line["user_id"]).startswith("UOtB…(")
    assert str(line["identifier_id"]).startswith("…(")
    assert line["rows"] == [{"user_id": redaction.mask(USER)}]
    assert line["user_ids"] == [redaction.mask(USER), redaction.mask("43")]
    assert redaction.mask("42") != redaction.mask("43")


@pytest.mark.parametrize(
    "name",
    [
        "x-api-key",
        "X-API-KEY",
        "api_key",
        "apikey",
        "Authorization",
        "proxy-authorization",
        "password",
        "cookie",
    ],
)
def test_suspicious_names_hide_whatever_they_hold(name: str, tmp_path: Path) -> None:
    line = logged(tmp_path, lambda log: log.info("x", headers={name: "hush"}, **{name: ["hush", 5]}), key="")
    assert line[name] == "[redacted]"
    assert line["headers"] == {name: "[redacted]"}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("via http://me:hush@proxy:3128", "via http://[redacted]@proxy:3128"),
        ("via http://me:hu@sh@proxy:3128/", "via http://[redacted]@proxy:3128/"),
        ("X-API-Key: hush", "X-API-Key: [redacted]"),
        ("{'x-api-key': 'hush'}", "{'x-api-key': [redacted]"),
        ("Authorization: Basic hush\nnext", "Authorization: [redacted]\nnext"),
        ("('Proxy-Authorization', 'Basic hush')", "('Proxy-Authorization', [redacted]"),
        ("no key here", "no key here"),
    ],
)
def test_secrets_of_others_are_hidden_in_text(text: str, clean: str) -> None:
    assert redaction.Redactor("").text(text) == clean


def test_the_key_in_an_exception_is_hidden(tmp_path: Path) -> None:
    def write(log: FilteringBoundLogger) -> None:
        try:
            int(KEY)
        except ValueError:
            log.exception("broke", error=RuntimeError(KEY))

    line = logged(tmp_path, write)
    assert "tail" not in json.dumps(line)
    assert "redacted" in str(line["exception"])
    assert "redacted" in str(line["error"])


def test_a_number_that_is_the_key_is_hidden(tmp_path: Path) -> None:
    line = logged(tmp_path, lambda log: log.info("x", a=12345678, b=5, c=float("nan")), key="12345678")
    assert (line["a"], line["b"], line["c"]) == ("[redacted]", 5, "nan")


def test_what_is_nested_too_deep_is_left_out(tmp_path: Path) -> None:
    deep: list[object] = [KEY]
    for _ in range(2000):
        deep = [deep]
    assert "[too deep]" in json.dumps(logged(tmp_path, lambda log: log.info("x", deep=deep)))


def _base64_after(prefix: bytes) -> Callable[[str], str]:
    return lambda key: base64.b64encode(prefix + key.encode() + b" tail").decode()


def _caused(key: str) -> Exception:
    error = ValueError("outside")
    error.__cause__ = KeyError(key)
    return error


DISGUISES: dict[str, Callable[[str], object]] = {
    "plain": str,
    "upper": str.upper,
    "bytes": str.encode,
    "bytearray": lambda key: bytearray(key.encode()),
    "repr": repr,
    "repr of bytes": lambda key: repr(key.encode()),
    "repr twice": lambda key: repr(repr(key)),
    "json": json.dumps,
    "json twice": lambda key: json.dumps(json.dumps(key)),
    "json escapes": lambda key: "".join(f"\\u{ord(char):04x}" for char in key),
    "hexadecimal escapes": lambda key: "".join(f"\\x{ord(char):02X}" for char in key),
    "quoted": lambda key: quote(key, safe=""),
    "quoted as a path": quote,
    "quoted as a form": quote_plus,
    "quoted twice": lambda key: quote(quote(key, safe=""), safe=""),
    "quoted all": lambda key: "".join(f"%{ord(char):02x}" for char in key),
    "quoted half": lambda key: f"%{ord(key[0]):02x}" + key[1:],
    "hexadecimal": lambda key: key.encode().hex(),
    "exception": ValueError,
    "exception's cause": _caused,
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "base64 after 1": _base64_after(b":"),
    "base64 after 2": _base64_after(b"u:"),
    "base64 after 3": _base64_after(b"me:"),
    "list": lambda key: [key],
    "set": lambda key: {key},
    "tuple": lambda key: ("x", (key,)),
    "name": lambda key: {key: 1},
    "bytes name": lambda key: {key.encode(): 1},
    "value": lambda key: {"a": {"b": [{"c": key}]}},
}
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)
AROUND = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def _leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [leaf for pair in value.items() for each in pair for leaf in _leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(each)]
    return [str(value)]


@given(key=KEYS, disguise=st.sampled_from(sorted(DISGUISES)), before=AROUND, after=AROUND)
def test_no_disguise_of_the_key_reaches_the_log(
    key: str, disguise: str, before: str, after: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    hidden = DISGUISES[disguise](key)
    whole = f"{before}{hidden}{after}" if isinstance(hidden, str) else hidden
    path = tmp_path_factory.getbasetemp() / "attacked.log"
    path.unlink(missing_ok=True)
    with logs.configure(path, key=key) as log:
        log.info("attack", value=whole, nested=[{"x": whole}])
        if isinstance(whole, str):
            log.info(whole)
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        event = json.loads(line)
        event.pop("timestamp", None)  # has another name where the key is a part of that one
        assert "[redacted]" in line
        for told in _leaves(event):
            assert key.lower() not in told.lower()
            assert not isinstance(hidden, str) or hidden not in told


def test_what_stands_before_an_escaped_key_hides_it_no_better() -> None:
    assert redaction.Redactor("00000000").text("%" + r"\x30" * 8) == "[redacted]"
    assert redaction.Redactor(":000000%").text("%3a000000%00") == "[redacted]"


@given(st.text(st.characters(exclude_characters="@:=,"), max_size=60))  # neither logins nor headers
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert redaction.Redactor("sk-0123456789-secret").text(text) == text
