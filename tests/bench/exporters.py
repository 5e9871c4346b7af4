"""Exports one table with the real programs, and reads each file with the product: `make exporters`.

Not a test: it needs the registries. It goes on where it stopped: a line of the table that stands is not measured
again, unless `--again` is said or its name is given.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from exporting.judge import Judgement, judge
from exporting.programs import install, kitchen, version
from exporting.recipes import RECIPES, Recipe
from exporting.shell import NotRunError
from exporting.truth import TRUTH
from processes import HERE

_TABLE: Final = HERE / "EXPORTERS.md"
_HEAD: Final = f"""# Files as real programs write them

`make exporters`: a table of {len(TRUTH)} rows (quotes, ditto marks, backslashes, line ends and rows in notes,
odd ids, ids that are missing) is given to each program without going through CSV, exported, and read by the
product, first without a word and then with the `--quoting` that is named. *exact*: every row with ids is called
with the very ids, the others are invalid. *safe*: no wrong id is called, and each row that is not called is
shown as invalid. *warned*: a word such as `NULL` is called as an id, or a note's line as a row, and the plan
warns of it. **WRONG** must not be: another id, or a row that vanished, without a word. What is counted is
exact / invalid / warned / wrong / lost.

| program | version | by itself | found | counted | told | counted |
| --- | --- | --- | --- | --- | --- | --- |
"""


def main() -> int:
    """Measure what is not in the table; return 1 if anything is wrong or could not be run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="Programs or lines of the table; all where none is given.")
    parser.add_argument("--again", action="store_true", help="Measure what stands in the table, too.")
    parser.add_argument("--keep", type=Path, help="Keep the exports in this folder.")
    given = parser.parse_args()
    lines = _read()
    wanted = [
        each for each in RECIPES if not given.names or each.tool in given.names or each.name in given.names
    ]
    due = [each for each in wanted if given.again or given.names or _is_due(lines.get(each.name))]
    if due:
        for name in install():
            sys.stderr.write(f"could not be installed: {name}\n")
    with kitchen() as cook:
        for recipe in due:
            try:
                export = cook(recipe)
                line = _line(recipe, export)
                if given.keep:
                    given.keep.mkdir(parents=True, exist_ok=True)
                    (given.keep / export.name).write_bytes(export.read_bytes())
            except NotRunError as error:
                why = _cell(str(error)[:120])
                line = f"| {_cell(recipe.name)} | {version(recipe.tool)} | not run: {why} | | | | |"
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            lines[recipe.name] = line
            _write(lines)
    bad = [line for line in lines.values() if "WRONG" in line or "not run" in line]
    sys.stdout.write(f"{len(lines)} lines, {len(bad)} wrong or not run\n")
    return 1 if bad else 0


def _line(recipe: Recipe, export: Path) -> str:
    found = judge(export)
    told = judge(export, recipe.told) if recipe.told else None
    with_told = f"`{recipe.told}`: {told.verdict()} | {_counts(told)}" if told else "|"
    dialect = f"refused: {found.refused}" if found.refused else found.dialect
    name, its = _cell(recipe.name), version(recipe.tool)
    return f"| {name} | {its} | {found.verdict()} | {_cell(dialect)} | {_counts(found)} | {with_told} |"


def _counts(found: Judgement) -> str:
    return f"{found.exact} / {found.invalid} / {found.warned} / {found.wrong} / {found.lost}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _is_due(line: str | None) -> bool:
    return line is None or "not run" in line


def _read() -> dict[str, str]:
    """Return the lines that were measured, by name, in the recipes' order."""
    text = _TABLE.read_text() if _TABLE.exists() else ""
    by_start = {f"| {_cell(each.name)} |": each.name for each in RECIPES}
    found = {}
    for line in text.splitlines():
        name = next((name for start, name in by_start.items() if line.startswith(start)), None)
        if name:
            found[name] = line
    return found


def _write(lines: dict[str, str]) -> None:
    _TABLE.write_text(_HEAD + "".join(f"{lines[each.name]}\n" for each in RECIPES if each.name in lines))


if __name__ == "__main__":
    sys.exit(main())
