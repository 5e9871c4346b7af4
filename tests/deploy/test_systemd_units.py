"""The units say what the nightly batch promises; where systemd is at hand it has checked them too."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

_UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
_COMMAND = "/opt/bulk-unverify/bin/bulk-unverify"
_MOST_EXPOSED = 15
"""The largest exposure, in tenths of a point of `systemd-analyze security` (0 is best, 100 worst)."""

_HARDENING = {
    "CapabilityBoundingSet": "",
    "LockPersonality": "true",
    "MemoryDenyWriteExecute": "true",
    "NoNewPrivileges": "true",
    "PrivateDevices": "true",
    "ProtectHome": "true",
    "ProtectKernelTunables": "true",
    "ProtectSystem": "strict",
    "RestrictNamespaces": "true",
    "SystemCallArchitectures": "native",
}


def _settings(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (_UNITS / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found.setdefault(key, []).append(value)
    return found


_NIGHTLY = _settings("bulk-unverify-nightly.service")
_WORKER = _settings("bulk-unverify-worker@.service")
_SERVICES = sorted(path.name for path in _UNITS.glob("*.service"))


@pytest.mark.parametrize("name", _SERVICES)
def test_every_service_is_hardened(name: str) -> None:
    settings = _settings(name)
    assert {key: settings.get(key, [None])[0] for key in _HARDENING} == _HARDENING
    assert "~@privileged @resources" in settings["SystemCallFilter"]


def test_the_key_is_a_credential_and_stands_in_no_unit() -> None:
    assert _NIGHTLY["LoadCredential"] == [
        "monocloud_management_api_key:/etc/bulk-unverify/management-api-key"
    ]
    assert not [path for path in _UNITS.iterdir() if "API_KEY=" in path.read_text()]


def test_only_exit_code_0_is_success_and_anything_else_tells_somebody() -> None:
    assert "SuccessExitStatus" not in _NIGHTLY
    assert _NIGHTLY["OnFailure"] == ["bulk-unverify-notify@%n.service"]
    assert _NIGHTLY["Restart"] == ["no"]
    assert (_UNITS / "bulk-unverify-notify@.service").is_file()


def test_an_open_run_is_resumed_before_the_delivery_becomes_a_new_run() -> None:
    resume, take = _NIGHTLY["ExecStartPre"]
    (fresh,) = _NIGHTLY["ExecStart"]
    assert resume == f"-{fresh.removesuffix(' --again')}"
    assert fresh.endswith(" --again")
    _, _, delivered, current = shlex.split(take)
    assert shlex.split(fresh)[:3] == [_COMMAND, "run", current]
    assert delivered != current


def test_a_run_outlives_a_call_in_flight_when_it_is_stopped() -> None:
    assert _NIGHTLY["KillSignal"] == ["SIGTERM"]
    assert _NIGHTLY["KillMode"] == ["mixed"]
    assert _NIGHTLY["TimeoutStopSec"] == ["2min"]


def test_the_tenants_lock_is_the_machines_own() -> None:
    assert _NIGHTLY["ReadWritePaths"] == ["/run/lock"]


def test_a_worker_stands_until_a_person_is_needed() -> None:
    assert _WORKER["Restart"] == ["always"]
    assert _WORKER["RestartPreventExitStatus"] == ["2"]
    assert _WORKER["LoadCredential"] == _NIGHTLY["LoadCredential"]
    [command] = _WORKER["ExecStart"]
    assert shlex.split(command)[:2] == [_COMMAND, "work"]
    assert shlex.split(command)[-2:] == ["--listen", "127.0.0.1:%i"]
    assert "://" not in command  # the queue's URL may hold a password
    assert _WORKER["KillSignal"] == ["SIGTERM"]
    assert _WORKER["TimeoutStopSec"] == ["60s"]


def test_the_timer_makes_up_for_a_missed_night_and_spreads_the_machines() -> None:
    timer = _settings("bulk-unverify-nightly.timer")
    assert timer["Persistent"] == ["true"]
    assert timer["RandomizedDelaySec"] == ["15m"]
    assert timer["WantedBy"] == ["timers.target"]


def _installed(folder: Path) -> list[str]:
    """Copy the units into `folder` with a program that exists here, and return their (instances') names."""
    names = []
    for path in sorted(_UNITS.glob("*.service")) + sorted(_UNITS.glob("*.timer")):
        name = path.name.replace("@.", "@instance.")
        text = path.read_text().replace(_COMMAND, "/bin/true").replace("/usr/bin/logger", "/bin/true")
        for target in {path.name, name}:
            (folder / target).write_text(text)
        names.append(name)
    return names


def _analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


if shutil.which("systemd-analyze"):

    def test_systemd_itself_takes_the_units(tmp_path: Path) -> None:
        ended = _analyze(tmp_path, "verify", "--man=no", "--recursive-errors=no", *_installed(tmp_path))
        assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")

    @pytest.mark.parametrize("name", _SERVICES)
    def test_systemd_finds_the_services_little_exposed(tmp_path: Path, name: str) -> None:
        _installed(tmp_path)
        unit = name.replace("@.", "@instance.")
        ended = _analyze(
            tmp_path, "security", "--offline=true", f"--threshold={_MOST_EXPOSED}", "--json=short", unit
        )
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)
