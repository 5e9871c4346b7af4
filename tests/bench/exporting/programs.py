"""Installs the programs of the recipes from the registries, runs them, and says their versions."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from exporting.databases import from_mariadb, from_psql, mariadb_server, postgres_server
from exporting.recipes import Recipe
from exporting.shell import NotRunError, sh, succeeds
from exporting.truth import COLUMNS, TRUTH
from processes import HERE

_HOME: Final = HERE.parent.parent / ".venv-bench"
_PYTHON: Final = _HOME / "exporters"
_NODE: Final = _HOME / "exporters-node"
_PYPI: Final = ("pandas", "polars", "duckdb", "pyarrow", "chdb", "pyspark", "xlsxwriter", "csvkit")
_NPM: Final = ("csv-stringify", "papaparse", "fast-csv", "json2csv", "exceljs", "xlsx")
_DEBIAN: Final = (
    *(
        "sqlite3",
        "jq",
        "miller",
        "php-cli",
        "ruby",
        "golang-go",
        "libtext-csv-perl",
        "libtext-csv-xs-perl",
        "r-base-core",
    ),
    *(
        "r-cran-data.table",
        "r-cran-readr",
        "mariadb-server",
        "postgresql",
        "gnumeric",
        "libreoffice-calc-nogui",
        "nodejs",
        "npm",
    ),
    "default-jre-headless",
)


def install() -> list[str]:
    """Install what is missing; return what could not be."""
    missing = []
    if not (_PYTHON / "bin" / "in2csv").exists():
        sh("python3", "-m", "venv", str(_PYTHON))
        missing += [
            name for name in _PYPI if not succeeds(str(_PYTHON / "bin" / "pip"), "install", "-q", name)
        ]
    _NODE.mkdir(parents=True, exist_ok=True)
    npm = [name for name in _NPM if not (_NODE / "node_modules" / name).exists()]
    missing += [
        name for name in npm if not succeeds("npm", "install", "--no-audit", "--no-fund", name, cwd=_NODE)
    ]
    absent = [name for name in _DEBIAN if not (shutil.which(name) or succeeds("dpkg", "-s", name))]
    if absent and os.geteuid() == 0 and shutil.which("apt-get"):
        succeeds("apt-get", "update", "-q")
        apt = ("apt-get", "install", "-q", "-y", "--no-install-recommends")
        return missing + [name for name in absent if not succeeds(*apt, name)]
    return missing + absent


@contextlib.contextmanager
def kitchen() -> Iterator[Callable[[Recipe], Path]]:
    """Yield what carries a recipe out and returns the file; raises `NotRunError` where it cannot."""
    with contextlib.ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="exporters-")))
        folder.chmod(0o755)
        (folder / "truth.json").write_text(
            json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in TRUTH])
        )
        with sqlite3.connect(folder / "truth.db") as database:
            database.execute("create table t(user_id text, identifier_id text, note text)")
            database.executemany("insert into t values (?,?,?)", TRUTH)
        workbook = functools.cache(lambda: _write_workbook(folder))
        postgres = functools.cache(lambda: held.enter_context(postgres_server(folder)))
        mariadb = functools.cache(lambda: held.enter_context(mariadb_server(folder)))

        def cook(recipe: Recipe) -> Path:
            out = folder / f"{re.sub('[^a-z0-9]+', '-', recipe.name.lower())}.{recipe.suffix}"
            if recipe.runner == "psql":
                from_psql(recipe, postgres(), out)
            elif recipe.runner == "mariadb":
                from_mariadb(recipe, mariadb(), out)
            else:
                if "$XLSX" in recipe.code:
                    workbook()
                _script(recipe, folder, out)
            if not out.exists() or not out.stat().st_size:
                raise NotRunError("it wrote nothing")
            return out

        yield cook


def _script(recipe: Recipe, folder: Path, out: Path) -> None:
    truth = str(folder / "truth.json")
    python = str(_PYTHON / "bin" / "python")
    runners = {
        "python": (python, "py"),
        "node": ("node", "js"),
        "ruby": ("ruby", "rb"),
        "php": ("php", "php"),
        "perl": ("perl", "pl"),
    }
    if recipe.runner == "sh":
        names = {
            "TRUTH": truth,
            "OUT": str(out),
            "DB": str(folder / "truth.db"),
            "DIR": str(folder),
            "XLSX": str(folder / "truth.xlsx"),
        }
        path = f"{os.environ['PATH']}:{_PYTHON / 'bin'}"
        sh("sh", "-c", recipe.code, env={**os.environ, **names, "PATH": path, "LC_ALL": "C.UTF-8"})
    elif recipe.runner == "r":
        cells = [
            [json.dumps(value, ensure_ascii=True) if value is not None else "NA" for value in column]
            for column in zip(*TRUTH, strict=True)
        ]
        frame = ", ".join(
            f"{name} = c({', '.join(column)})" for name, column in zip(COLUMNS, cells, strict=True)
        )
        (folder / "run.R").write_text(
            f"out <- {json.dumps(str(out))}\nd <- data.frame({frame}, stringsAsFactors = FALSE)\n{recipe.code}\n"
        )
        sh("Rscript", str(folder / "run.R"), env={**os.environ, "LC_ALL": "C.UTF-8"})
    elif recipe.runner == "go":
        (folder / "main.go").write_text(recipe.code)
        sh(
            "go",
            "run",
            str(folder / "main.go"),
            truth,
            str(out),
            env={**os.environ, "GOFLAGS": "-mod=mod", "HOME": str(folder)},
        )
    else:
        program, suffix = runners[recipe.runner]
        script = folder / f"run.{suffix}"
        script.write_text(recipe.code)
        sh(
            program,
            str(script),
            truth,
            str(out),
            env={**os.environ, "NODE_PATH": str(_NODE / "node_modules")},
        )


_WORKBOOK: Final = """
import sys, json, xlsxwriter
book = xlsxwriter.Workbook(sys.argv[2], {"strings_to_formulas": False, "strings_to_numbers": False})
sheet = book.add_worksheet("t")
rows = [["user_id", "identifier_id", "note"]] + [list(row.values()) for row in json.load(open(sys.argv[1]))]
for y, row in enumerate(rows):
    for x, value in enumerate(row):
        if value is not None:
            sheet.write_string(y, x, value)
book.close()
"""


def _write_workbook(folder: Path) -> None:
    python = str(_PYTHON / "bin" / "python")
    sh(python, "-c", _WORKBOOK, str(folder / "truth.json"), str(folder / "truth.xlsx"))


_VERSIONS: Final[dict[str, tuple[str, ...]]] = {
    "sqlite3": ("sqlite3", "--version"),
    "jq": ("jq", "--version"),
    "Miller": ("mlr", "--version"),
    "PostgreSQL": ("psql", "--version"),
    "MariaDB": ("mariadbd", "--version"),
    "R": ("Rscript", "--version"),
    "PHP": ("php", "--version"),
    "Ruby csv": ("ruby", "--version"),
    "Perl Text::CSV": ("perl", "-MText::CSV", "-e", "print $Text::CSV::VERSION"),
    "Go encoding/csv": ("go", "version"),
    "LibreOffice": ("soffice", "--version"),
    "gnumeric": ("ssconvert", "--version"),
    "awk": ("sh", "-c", "readlink -f $(command -v awk) | xargs dpkg -S | head -1"),
}
_PACKAGES: Final = {"DuckDB": "duckdb", "ClickHouse (chdb)": "chdb", "Spark": "pyspark", "SheetJS": "xlsx"}


@functools.cache
def version(tool: str) -> str:
    """Return a program's version, or nothing."""
    package = _PACKAGES.get(tool, tool)
    manifest = _NODE / "node_modules" / package / "package.json"
    if manifest.exists():
        return str(json.loads(manifest.read_text())["version"])
    try:
        if tool in _VERSIONS:
            said = sh(*_VERSIONS[tool]).decode()
        else:
            said = sh(str(_PYTHON / "bin" / "pip"), "show", package).decode().partition("Version:")[2]
    except NotRunError:
        return ""
    found = re.search(r"\d+(?:\.\d+)+", said)
    return found[0] if found else ""
