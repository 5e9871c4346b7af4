"""What lies in deploy/ and .ci/, and each shell script, passes its own languages' linters, as shipped in the lock."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_TOP = Path(__file__).parents[2]
_DEPLOY = _TOP / "deploy"
_BIN = Path(sys.executable).parent
_YAML_RULES = "{extends: default, rules: {line-length: {max: 110}}}"


def _lint(*command: str | Path) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=_TOP)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def _shell_scripts() -> list[Path]:
    folders = (_DEPLOY, _TOP / ".ci", _TOP / "tests", _TOP / "findings")
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted(
        path for path in found if path.read_bytes().startswith((b"#!/bin/sh", b"#!/usr/bin/env bash"))
    )


def test_hadolint_finds_nothing_in_the_container_file() -> None:
    _lint(_BIN / "hadolint", "--config", _DEPLOY / "hadolint.yaml", _DEPLOY / "Containerfile")


@pytest.mark.parametrize("script", _shell_scripts(), ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    _lint(_BIN / "shellcheck", "--severity=style", script)


@pytest.mark.parametrize(
    "file", sorted([*_DEPLOY.rglob("*.yaml"), *_DEPLOY.rglob("*.yml")]), ids=lambda path: path.name
)
def test_yamllint_finds_nothing(file: Path) -> None:
    _lint(_BIN / "yamllint", "--strict", "-d", _YAML_RULES, file)


def test_the_schema_of_compose_files_takes_ours() -> None:
    _lint(_BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", _DEPLOY / "compose.yaml")


@pytest.mark.parametrize(
    "file",
    sorted(
        path
        for path in (_DEPLOY / "kubernetes").rglob("*.yaml")
        if path.name not in {"kustomization.yaml", "scaledobject.yaml"}  # see test_kubernetes.py
    ),
    ids=lambda path: path.name,
)
def test_the_schema_of_kubernetes_takes_the_manifests(file: Path) -> None:
    _lint(_BIN / "kubernetes-validate", "--strict", file)


def test_the_build_script_is_executable_and_runs_the_tests() -> None:
    script = _TOP / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().splitlines()[-1] == "make test"
    assert shutil.which("bash")
