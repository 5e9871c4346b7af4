"""Servers of their own for the exports of PostgreSQL and MariaDB, each on a socket in a temporary folder."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from exporting.recipes import Recipe
from exporting.shell import NotRunError, sh
from exporting.truth import COLUMNS, TRUTH


@contextlib.contextmanager
def postgres_server(folder: Path) -> Iterator[list[str]]:
    """Start a PostgreSQL of its own on a socket; yield the words of a `psql` that reaches it."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        raise NotRunError("PostgreSQL is not installed")
    place = folder / "pg"
    place.mkdir()
    shutil.chown(place, "postgres")
    as_owner = ("runuser", "-u", "postgres", "--")
    sh(
        *as_owner,
        str(binaries[-1] / "initdb"),
        "-D",
        str(place / "data"),
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-locale",
    )
    control = (*as_owner, str(binaries[-1] / "pg_ctl"), "-D", str(place / "data"))
    sh(*control, "-w", "-o", f"-k {place} -c listen_addresses=''", "-l", str(place / "log"), "start")
    try:
        psql = ["psql", "-X", "-q", "-h", str(place), "-U", "postgres", "-d", "postgres"]
        quoted = (
            ", ".join("null" if v is None else "'" + v.replace("'", "''") + "'" for v in row) for row in TRUTH
        )
        rows = ", ".join(f"({row})" for row in quoted)
        sh(
            *psql,
            "-c",
            f"create table t(user_id text, identifier_id text, note text); insert into t values {rows}",
        )
        yield psql
    finally:
        sh(*control, "-m", "immediate", "stop")


def from_psql(recipe: Recipe, psql: list[str], out: Path) -> None:
    if recipe.code.startswith("\\copy"):
        sh(*psql, "-c", recipe.code.replace("$OUT", str(out)))
    else:
        words = [word.strip("'") for word in recipe.code.split(" ")]
        out.write_bytes(sh(*psql, *words, "-c", "select * from t"))


@contextlib.contextmanager
def mariadb_server(folder: Path) -> Iterator[list[str]]:
    """Start a MariaDB of its own on a socket; yield the words of a client that reaches it."""
    if not shutil.which("mariadbd") and not Path("/usr/sbin/mariadbd").exists():
        raise NotRunError("MariaDB is not installed")
    place = folder / "maria"
    place.mkdir()
    shutil.chown(place, "mysql", "mysql")
    sh("mariadb-install-db", f"--datadir={place}/data", "--user=mysql", "--skip-test-db")
    server = subprocess.Popen(
        [
            "/usr/sbin/mariadbd",
            "--no-defaults",
            f"--datadir={place}/data",
            f"--socket={place}/s",
            "--skip-networking",
            "--user=mysql",
            f"--pid-file={place}/pid",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        client = [
            "mariadb",
            "--no-defaults",
            f"--socket={place}/s",
            "--default-character-set=utf8mb4",
            "-u",
            "root",
        ]
        sh(
            "mariadb-admin",
            "--no-defaults",
            f"--socket={place}/s",
            "--wait=30",
            "--connect-timeout=30",
            "ping",
        )
        escape = str.maketrans({"\\": "\\\\", "'": "\\'"})
        quoted = (
            ", ".join("null" if v is None else f"'{v.translate(escape)}'" for v in row) for row in TRUTH
        )
        database = "create database d character set utf8mb4; use d;"
        table = f"{database} create table t(user_id text, identifier_id text, note text);"
        sh(*client, "-e", f"{table} insert into t values {', '.join(f'({row})' for row in quoted)}")
        yield [*client, "d"]
    finally:
        server.terminate()
        server.wait(30)


def from_mariadb(recipe: Recipe, client: list[str], out: Path) -> None:
    if recipe.code.startswith("--"):
        out.write_bytes(sh(*client, *recipe.code.split(), "-e", "select * from t"))
        return
    place = Path(client[2].split("=", 1)[1]).parent / out.name
    header = ", ".join(f"'{name}'" for name in COLUMNS)
    sh(
        *client,
        "-e",
        f"select {header} union all select * from t"
        f" into outfile '{place}' character set utf8mb4 {recipe.code}",
    )
    shutil.copy(place, out)
