"""`make test` installs the servers that it needs where it may, and says by which command where it may not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_SCRIPT = Path(__file__).parents[1] / "servers.sh"


def run(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """Run the script where no other commands than bash and `names` are to be found."""
    for name in ("bash", *names):
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    env = {"PATH": str(folder), "PYTHON": "no-python"}
    return subprocess.run([_SCRIPT], env=env, capture_output=True, text=True, check=False)


def test_what_is_missing_is_named_where_it_cannot_be_installed(tmp_path: Path) -> None:
    ended = run(tmp_path)
    assert ended.returncode == 1
    assert "redis-server rabbitmq-server python3 python3-venv" in ended.stderr


def test_on_debian_root_installs_it_and_another_is_told_the_command(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    apt.chmod(0o755)
    ended = run(tmp_path, "systemd-analyze" if shutil.which("systemd-analyze") else "true")
    if os.geteuid() == 0:
        assert ended.returncode == 0, ended.stderr
        update, install = asked.read_text().splitlines()
        assert update.startswith("update")
        assert "redis-server rabbitmq-server" in install
    else:
        assert ended.returncode == 1
        assert "apt-get install --yes --no-install-recommends redis-server rabbitmq-server" in ended.stderr
