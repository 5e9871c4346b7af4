"""The manifest of a run folder: size and SHA-256 of each file of evidence, to show that none was changed.

`run.log` is still appended to after the manifest is written, so what counts of it is its first `size_bytes`
bytes. The ledger is listed only when it is at rest: while a process has it open, its newest content is in
the file `ledger.sqlite-wal` beside it, and `ledger.sqlite` alone proves nothing. Write the manifest again
once it is closed. The manifest is not signed: keep its own SHA-256 (a ticket will do) where the folder's
owner cannot change it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import pydantic

from worker.errors import ReportError
from worker.report.destination import write_bytes

MANIFEST_NAME: Final = "manifest.json"
LEDGER_NAME: Final = "ledger.sqlite"
LOG_NAME: Final = "run.log"
EVIDENCE: Final = (LEDGER_NAME, "report.csv", "failed.csv", "report.html", "summary.json", LOG_NAME)
"""What a manifest lists, of these what there is."""

_CHUNK_BYTES: Final = 1 << 20


class FileFacts(pydantic.BaseModel):
    """One file of the folder as it was.

    Attributes:
        size_bytes: Its size.
        sha256: Hex digest of its first `size_bytes` bytes.
        grows: Whether more may have been appended since.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    size_bytes: int = pydantic.Field(ge=0)
    sha256: str = pydantic.Field(pattern="^[0-9a-f]{64}$")
    grows: bool = False


class Manifest(pydantic.BaseModel):
    """The content of `manifest.json`.

    Attributes:
        version: Of this format.
        run_id: The run's name.
        files: Facts of each file by its name in the run folder.
        left_out: Why a file that should be there is not listed, by name.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    version: int = 1
    run_id: str
    files: dict[str, FileFacts]
    left_out: dict[str, str] = {}


def remove_manifest(run_dir: Path) -> None:
    """Remove the manifest before what it lists is written anew: a folder has a true one or none.

    Raises:
        ReportError: It could not be removed.
    """
    path = run_dir / MANIFEST_NAME
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(f"The old {path} could not be removed: {error.strerror}.") from error


def write_manifest(run_dir: Path, run_id: str) -> Path:
    """Write `manifest.json` for what is in `run_dir` now, and return its path.

    Raises:
        ReportError: A file could not be read, or the manifest not be written.
    """
    left_out = {}
    if _in_use(run_dir / LEDGER_NAME):
        left_out[LEDGER_NAME] = "in use when the manifest was written"
    names = [name for name in EVIDENCE if name not in left_out and (run_dir / name).is_file()]
    try:
        files = {name: _facts(run_dir / name) for name in names}
    except OSError as error:
        raise ReportError(
            f"The manifest of {run_dir} could not be made: {error}. Mend that, then write the report again."
        ) from error
    manifest = Manifest(run_id=run_id, files=files, left_out=left_out)
    path = run_dir / MANIFEST_NAME
    write_bytes(path, manifest.model_dump_json(indent=2).encode() + b"\n")
    return path


def verify_manifest(run_dir: Path) -> list[str]:
    """Return what differs between `run_dir` and its manifest, a sentence each; empty when nothing."""
    path = run_dir / MANIFEST_NAME
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        return [f"{path} could not be read: {error.strerror}."]
    except pydantic.ValidationError as error:
        return [f"{path} is not a manifest: {error.error_count()} things in it are wrong or missing."]
    problems = (_problem(run_dir, name, facts) for name, facts in manifest.files.items())
    return [problem for problem in problems if problem]


def _problem(run_dir: Path, name: str, facts: FileFacts) -> str:
    """Return what is wrong with one file, or nothing."""
    if name not in EVIDENCE:
        return f"The manifest lists {name!r}, which is no file of a run folder."
    path = run_dir / name
    try:
        size_bytes = path.stat().st_size
        if size_bytes < facts.size_bytes or (size_bytes > facts.size_bytes and not facts.grows):
            return f"{path} has {size_bytes} bytes; the manifest says {facts.size_bytes}."
        same = _digest(path, facts.size_bytes) == facts.sha256
    except OSError as error:
        return f"{path} could not be read: {error.strerror}."
    return "" if same else f"{path} was changed: its SHA-256 is not the manifest's."


def _facts(path: Path) -> FileFacts:
    size_bytes = path.stat().st_size
    return FileFacts(size_bytes=size_bytes, sha256=_digest(path, size_bytes), grows=path.name == LOG_NAME)


def _digest(path: Path, size_bytes: int) -> str:
    digest = hashlib.sha256()
    left = size_bytes
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def _in_use(ledger: Path) -> bool:
    """Whether a process has the ledger open, or was killed: the last clean close removes the `-wal` file."""
    return ledger.with_name(ledger.name + "-wal").exists()
