"""Reading input: a file of any usual dialect becomes a stream of numbered, validated rows."""

from worker.intake.check import find_fault
from worker.intake.options import InputOptions
from worker.intake.origins import Origins
from worker.intake.parts import Part, as_parts, digest_of, part_files
from worker.intake.protected import load_protected
from worker.intake.spool import as_file, is_stream, spooled
from worker.intake.stored import digest
from worker.intake.table import Table, open_table

__all__ = [
    "InputOptions",
    "Origins",
    "Part",
    "Table",
    "as_file",
    "as_parts",
    "digest",
    "digest_of",
    "find_fault",
    "is_stream",
    "load_protected",
    "open_table",
    "part_files",
    "spooled",
]
