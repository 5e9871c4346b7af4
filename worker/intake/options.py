"""What a person may say about an input: which columns, which dialect, how many rows at most."""

from __future__ import annotations

import codecs
import dataclasses
from typing import Final

from worker.errors import UsageError

_TAB_NAMES: Final = frozenset({"tab", "\\t"})
_NEVER_DELIMITERS: Final = frozenset('"\r\n\0')
_QUOTINGS: Final = frozenset({"none", "rfc4180", "backslash"})
_FORMATS: Final = frozenset({"csv", "jsonl"})


@dataclasses.dataclass(frozen=True, slots=True)
class InputOptions:
    r"""What selects rows from a file; a run is bound to it.

    Attributes:
        user_column: A header name (any case) or a position from 1; None for the usual names.
        identifier_column: The same for the identifier's id.
        header: Whether the first row names the columns.
        delimiter: One character, `tab` or `\t`; None to detect `,` `;` or tab.
        encoding: A Python codec's name; None for the byte order mark's, else UTF-8.
        max_rows: A file with more rows is refused as a whole.
        format: `csv` or `jsonl`; None to tell by the file's name and first character.
        quoting: `none`, `rfc4180` or `backslash`; None to find it, and to keep out what is in doubt.
    """

    user_column: str | None = None
    identifier_column: str | None = None
    header: bool = True
    delimiter: str | None = None
    encoding: str | None = None
    max_rows: int | None = None
    format: str | None = None
    quoting: str | None = None

    @property
    def separator(self) -> str | None:
        """The delimiter as one character, or None to detect it.

        Raises:
            UsageError: It cannot separate anything.
        """
        if self.delimiter is None:
            return None
        if self.delimiter.casefold() in _TAB_NAMES:
            return "\t"
        if len(self.delimiter) != 1 or self.delimiter in _NEVER_DELIMITERS:
            raise UsageError(
                f"--delimiter {self.delimiter!r} is not one character: give `,`, `;`, `tab` or another one."
            )
        return self.delimiter

    @property
    def codec(self) -> str | None:
        """The encoding's normal name (`iso8859-1` for `latin1`), or None to detect it.

        Raises:
            UsageError: There is no such text encoding.
        """
        if self.encoding is None:
            return None
        try:
            name = codecs.lookup(self.encoding).name
            "".encode(name)
            codecs.getincrementaldecoder(name)
        except (LookupError, ValueError):
            raise UsageError(
                f"--encoding {self.encoding!r} is not known: give utf-8, utf-16, latin-1, cp1252 or the like."
            ) from None
        return name

    def check(self) -> None:
        """Refuse what no file could satisfy.

        Raises:
            UsageError: Naming the flag.
        """
        _ = self.separator, self.codec
        if self.format is not None and self.format not in _FORMATS:
            raise UsageError(f"The input format {self.format!r} is not known: give csv or jsonl.")
        if self.quoting is not None and self.quoting not in _QUOTINGS:
            raise UsageError(f"--quoting {self.quoting!r} is not known: give none, rfc4180 or backslash.")
        if self.header or self.format == "jsonl":
            return
        named = {"--user-column": self.user_column, "--identifier-column": self.identifier_column}
        for flag, column in named.items():
            if column is not None and not (column.isascii() and column.isdecimal()):
                raise UsageError(
                    f"{flag} {column!r} names a column, but with --no-header there are no names:"
                    " give its position, from 1."
                )
