"""Every `bulk-unverify` line of the README, runbooks and units names commands and flags that exist."""

import dataclasses
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

_TOP = Path(__file__).parents[2]
_PROGRAM = "bulk-unverify"
_FENCE = re.compile(r"^[ ]*```(?:console|sh|bash)\n(.*?)^[ ]*```", re.DOTALL | re.MULTILINE)
_ENDS = {"|", "||", "&", "&&", ";", ">", ">>", "<", "2>", ")"}


@dataclasses.dataclass(frozen=True)
class _Line:
    place: str
    words: list[str]


def _command(text: str) -> list[str] | None:
    """Return the words from the program's name on, or None where the line runs something else."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    starts = [at for at, word in enumerate(words) if Path(word).name == _PROGRAM and words[at - 1] != "-u"]
    if not starts:
        return None
    start = starts[0]
    before = [word for word in words[:start] if "=" not in word and not word.startswith("-")]
    if before and before[0] not in {"sudo", "$", "time"}:
        return None
    end = next((at for at in range(start, len(words)) if words[at] in _ENDS), len(words))
    return words[start:end]


def _documented() -> Iterator[_Line]:
    for path in [_TOP / "README.md", *sorted((_TOP / "deploy").rglob("*.md"))]:
        for block in _FENCE.findall(path.read_text()):
            for text in block.replace("\\\n", " ").splitlines():
                words = _command(text.strip().removeprefix("$ ").removeprefix("# "))
                if words is not None:
                    yield _Line(f"{path.name}: {text.strip()}", words)
    for path in sorted((_TOP / "deploy" / "systemd").glob("*.service")):
        for text in path.read_text().splitlines():
            key, _, value = text.partition("=")
            if key in {"ExecStart", "ExecStartPre", "ExecStartPost"} and _PROGRAM in value.split()[0]:
                yield _Line(f"{path.name}: {text}", [_PROGRAM, *shlex.split(value)[1:]])
    yield from _composed()


def _composed() -> Iterator[_Line]:
    """Yield what the image is started with: its entry point is the program."""
    compose = yaml.safe_load((_TOP / "deploy" / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        if service["image"] == _PROGRAM:
            yield _Line(f"compose.yaml: {name}", [_PROGRAM, *service["command"]])
    deployment = yaml.safe_load((_TOP / "deploy" / "kubernetes" / "base" / "deployment.yaml").read_text())
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        yield _Line(f"deployment.yaml: {container['name']}", [_PROGRAM, *container["args"]])


def _problems(words: list[str]) -> list[str]:
    """Return what is wrong with a command line, by the command line's own declaration."""
    group: Any = typer.main.get_command(importlib.import_module("worker.cli.app").app)
    if len(words) == 1 or words[1] in {"--help", "--version"}:
        return []
    if words[1] not in group.commands:
        return [f"no command {words[1]!r}"]
    declared = group.commands[words[1]].params
    arguments = [each for each in declared if each.param_type_name == "argument"]
    operands, problems = _read(words[2:], _flags(declared))
    least = sum(each.required for each in arguments)
    if not least <= operands <= len(arguments):
        problems.append(f"{operands} operands instead of {least} to {len(arguments)}")
    return problems


def _flags(declared: list[Any]) -> dict[str, bool]:
    """Return whether a value follows, by flag."""
    flags = {"--help": False}
    for each in declared:
        if each.param_type_name == "option":
            flags |= dict.fromkeys((*each.opts, *each.secondary_opts), not each.is_flag)
    return flags


def _read(words: list[str], flags: dict[str, bool]) -> tuple[int, list[str]]:
    """Return the number of operands among `words`, and what is wrong with the flags."""
    operands, problems = 0, []
    rest = iter(words)
    for word in rest:
        flag, equals, _ = word.partition("=")
        if not word.startswith("-") or word == "-":
            operands += 1
        elif flag not in flags:
            problems.append(f"no flag {flag!r}")
        elif flags[flag] and not equals and next(rest, "--").startswith("--"):
            problems.append(f"{flag} without a value")
    return operands, problems


_LINES = list(_documented())


@pytest.mark.parametrize("line", _LINES, ids=lambda line: line.place)
def test_a_documented_line_can_be_typed(line: _Line) -> None:
    assert _problems(line.words) == []


def test_the_documents_were_read() -> None:
    places = {line.place.split(":")[0] for line in _LINES}
    assert {"README.md", "first-real-run.md", "bulk-unverify-nightly.service"} <= places
    assert {"bulk-unverify-worker@.service", "compose.yaml", "deployment.yaml"} <= places


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bulk-unverify runn a.csv", "no command 'runn'"),
        ("bulk-unverify run a.csv --fast", "no flag '--fast'"),
        ("bulk-unverify run a.csv --rate --yes", "--rate without a value"),
        ("bulk-unverify run", "0 operands instead of 1 to 1"),
    ],
)
def test_a_line_that_cannot_be_typed_is_found(text: str, problem: str) -> None:
    assert _problems(shlex.split(text)) == [problem]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("$ KEY=x .venv/bin/bulk-unverify status | less", ["status"]),
        ("sudo -u bulk-unverify /opt/bulk-unverify/bin/bulk-unverify pause R # soon", ["pause", "R"]),
        ("cd bulk-unverify", None),
        ("python3 -m venv /opt/bulk-unverify", None),
    ],
)
def test_lines_are_told_from_other_uses_of_the_name(text: str, words: list[str] | None) -> None:
    found = _command(text)
    assert (None if found is None else found[1:]) == words
