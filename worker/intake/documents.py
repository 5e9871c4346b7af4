"""Cuts JSON that is not one object a line into its values: arrays, and objects over several lines, streamed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from worker.errors import InputError
from worker.intake.text import LONGEST_LINE_CHARS, is_damaged, show_damage
from worker.nesting import is_too_deep

_STRING: Final = r'"(?:[^"\\]|\\.)*+"'
_MARK: Final = re.compile(rf'{_STRING}|["\[\]{{}}]', re.DOTALL)
"""What says where a value ends: a whole string, a bracket, or a string that is not whole yet."""
_SCALAR: Final = re.compile(rf'{_STRING}|[^\s,\[\]{{}}"]+', re.DOTALL)
_SPACE: Final = re.compile(r"[ \t\r\n]*+")


class TooLongError(InputError):
    """A value is longer than a row may be."""


def values(text: Iterator[str], name: str) -> Iterator[tuple[int, str]]:
    """Yield each value with the line where it starts: the elements of arrays, and what stands outside of any.

    Args:
        text: The document, in pieces.
        name: What messages call the input.

    Raises:
        TooLongError: One value is too long for a row.
        InputError: It is no JSON. Where one value ends and the next begins is then a guess, so nothing is read.
    """
    return iter(_Cutter(text, name))


class _Cutter:
    def __init__(self, pieces: Iterator[str], name: str) -> None:
        self._pieces = pieces
        self._name = name
        self._text = ""
        self._at = 0  # all before it is done
        self._line, self._counted = 1, 0  # the line of this position of the text

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yield the values."""
        while mark := self._next_mark():
            if mark == "[":
                yield from self._elements()
            else:
                yield self._value()

    def _elements(self) -> Iterator[tuple[int, str]]:
        opened = self._line_here()
        self._at += 1
        if self._next_mark() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            mark = self._next_mark()
            if mark not in {",", "]"}:
                raise self._broken(
                    f"the array that begins on line {opened} is not closed" if not mark else None
                )
            self._at += 1
            if mark == "]":
                return
            self._next_mark()

    def _next_mark(self) -> str:
        """Return the next character that is no white space, without taking it; nothing at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _value(self) -> tuple[int, str]:
        line = self._line_here()
        if self._at >= len(self._text):
            raise self._broken("it ends in the middle of an array")
        while (end := self._end()) is None:
            if len(self._text) - self._at > LONGEST_LINE_CHARS:
                raise TooLongError(
                    f"{self._name}: the JSON value that begins on line {line} has more than"
                    f" {LONGEST_LINE_CHARS:,} characters, so it is no row: write one object a line (`jq -c`)."
                )
            if not self._more():
                raise self._broken(f"the value that begins on line {line} is not closed")
        value = self._text[self._at : end]
        self._check(value)
        self._at = end
        return line, value

    def _end(self) -> int | None:
        """Return where the value at hand ends, or None if that is not there yet."""
        if self._text[self._at] not in "[{":
            found = _SCALAR.match(self._text, self._at)
            if found is None and self._text[self._at] != '"':
                raise self._broken(None)
            return found.end() if found and found.end() < len(self._text) else None
        depth = 0
        for mark in _MARK.finditer(self._text, self._at):
            if mark[0] in "[{":
                depth += 1
            elif mark[0] in "]}":
                depth -= 1
                if depth == 0:
                    return mark.end()
            elif mark[0] == '"':
                return None
        return None

    def _check(self, value: str) -> None:
        sound = show_damage(value).replace("\\x", "x") if is_damaged(value) else value
        try:
            if is_too_deep(encoded := sound.encode()):
                raise self._broken("it is nested too deeply")
            msgspec.json.decode(encoded, type=msgspec.Raw)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise self._broken(str(error)) from error

    def _more(self) -> bool:
        """Take the next piece, and let go of what is done."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._line_here()
        self._text = self._text[self._at :] + piece
        self._at = self._counted = 0
        return True

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _broken(self, why: str | None) -> InputError:
        return InputError(
            f"{self._name}: the JSON breaks off on line {self._line_here()}"
            f" ({why or 'something stands where a value ends'}). Where its next row begins is not known, so nothing"
            " of it is planned: export it again, or as JSON lines (one object a line)."
        )
