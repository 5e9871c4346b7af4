"""Finds where in JSON the ids are, if they are not on top: as the filter with which jq takes the rows out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from worker.nesting import DEEPEST

_TOKEN: Final = re.compile(r'("(?:[^"\\]|\\.)*+")(\s*+:)?|[\[\]{}]', re.DOTALL)
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MOST_KEYS: Final = 1000


class _Level:
    """An array or object that is open: how jq gets into it, and the keys of an object so far."""

    def __init__(self, step: str, *, is_object: bool) -> None:
        self.step = step
        self.is_object = is_object
        self.keys: list[str] = []


def filter_of(text: str, holds_ids: Callable[[list[str]], bool]) -> str | None:
    """Return jq's filter for the first objects in which `holds_ids` finds the ids, or None.

    Args:
        text: JSON, or the start of it.
        holds_ids: Whether an object with these keys is a row.
    """
    levels: list[_Level] = []
    for token in _TOKEN.finditer(text):
        mark = token[0][0]
        if mark in "[{":
            if len(levels) > DEEPEST:
                return None
            levels.append(_Level(_step(levels), is_object=mark == "{"))
        elif mark in "]}" and levels:
            levels.pop()
        elif token[2] and levels and levels[-1].is_object and len(levels[-1].keys) < _MOST_KEYS:
            levels[-1].keys.append(_key(token[1]))
            if holds_ids(levels[-1].keys):
                return _filter(levels)
    return None


def _step(levels: list[_Level]) -> str:
    if not levels:
        return ""
    if not levels[-1].is_object:
        return "[]"
    key = levels[-1].keys[-1] if levels[-1].keys else ""
    if key.isdecimal():  # a table by row numbers: each value of the object is a row
        return "[]"
    return f".{key}" if _PLAIN_KEY.match(key) else f"[{json.dumps(key)}]"


def _filter(levels: list[_Level]) -> str:
    steps = "".join(level.step for level in levels)
    return steps if steps.startswith(".") else f".{steps}"


def _key(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]
