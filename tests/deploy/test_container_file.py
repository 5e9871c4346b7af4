"""The container file keeps what its comments promise."""

import re
import tomllib
from pathlib import Path

_TOP = Path(__file__).parents[2]
_LINES = (_TOP / "deploy" / "Containerfile").read_text().replace("\\\n", " ").splitlines()
_STEPS = [line.split(maxsplit=1) for line in _LINES if line and not line.startswith("#")]
_LAST_STAGE = _STEPS[max(index for index, step in enumerate(_STEPS) if step[0] == "FROM") :]


def _copied() -> set[str]:
    sources: set[str] = set()
    for word, rest in _STEPS:
        if word == "COPY" and not rest.startswith("--from="):
            sources.update(rest.split()[:-1])
    return sources


def test_it_copies_exactly_what_the_ignore_file_lets_through() -> None:
    rules = (_TOP / "deploy" / "Containerfile.dockerignore").read_text().splitlines()
    assert "*" in rules
    assert _copied() == {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert all((_TOP / name).exists() for name in _copied())


def test_it_copies_every_package_of_the_wheel() -> None:
    project = tomllib.loads((_TOP / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= _copied()


def _locked(name: str) -> dict[str, str]:
    """Return the versions of a lock, by project."""
    lines = (_TOP / name).read_text().splitlines()
    found = (re.match(r"([a-z0-9-]+)==([^ ;\\]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def test_it_installs_what_a_run_needs_and_the_extras_of_a_fleet() -> None:
    assert any("--requirement requirements-fleet.lock" in rest for word, rest in _STEPS if word == "RUN")
    fleet, everything = _locked("requirements-fleet.lock"), _locked("requirements.lock")
    assert _locked("requirements-run.lock").items() <= fleet.items() <= everything.items()
    project = tomllib.loads((_TOP / "pyproject.toml").read_text())["project"]
    for extra, wanted in project["optional-dependencies"].items():
        names = {re.split(r"[><=]", each)[0] for each in wanted}
        # Formats of files are read where a run is planned: no worker needs them (Parquet's weighs 170 MB).
        assert names <= fleet.keys() or extra in {"parquet", "excel"}, extra


def test_it_runs_as_nobody_in_particular_with_one_writable_folder() -> None:
    assert ["USER", "10001:10001"] in _LAST_STAGE
    assert ["VOLUME", '["/data"]'] in _LAST_STAGE
    assert ["WORKDIR", "/data"] in _LAST_STAGE
    users = [index for index, step in enumerate(_LAST_STAGE) if step[0] == "USER"]
    assert not [step for step in _LAST_STAGE[users[-1] :] if step[0] in {"RUN", "COPY", "ADD"}]


def test_no_key_and_no_setting_of_a_tenant_is_built_in() -> None:
    set_here = " ".join(rest for word, rest in _STEPS if word in {"ENV", "ARG", "RUN"})
    assert "MONOCLOUD" not in set_here


def test_the_signal_that_stops_it_is_the_one_the_command_heeds() -> None:
    assert ["STOPSIGNAL", "SIGTERM"] in _LAST_STAGE
    assert ["ENTRYPOINT", '["bulk-unverify"]'] in _LAST_STAGE
