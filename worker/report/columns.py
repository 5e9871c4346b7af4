"""Names for the input's columns that are unique, for formats in which a name stands for one column."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def unique_names(header: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Return `header` with each name that is `taken`, or stood before, numbered: `mail`, `mail (2)`.

    A column without a name becomes `column 3`, after its position.
    """
    used = set(taken)
    names = []
    for position, given in enumerate(header, start=1):
        plain = given or f"column {position}"
        name, count = plain, 1
        while name in used:
            count += 1
            name = f"{plain} ({count})"
        used.add(name)
        names.append(name)
    return names


def fit(cells: list[str], width: int) -> list[str]:
    """Return `cells` padded with empty ones, or cut, to `width`."""
    return cells if len(cells) == width else [*cells[:width], *[""] * (width - len(cells))]


def readable(text: str) -> str:
    r"""Return `text` with what UTF-8 cannot hold (undecodable bytes of the input) written as `\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
