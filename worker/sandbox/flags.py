"""Trouble and limits as they are written on a command line: `slow=10%`, `40/s,kind=fixed-window`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import pydantic

from worker.errors import UsageError
from worker.sandbox.options import Limit, Outage, SandboxOptions, Trouble

_RATE: Final = re.compile(r"(\d+)/(\d+(?:\.\d+)?)?(ms|s|m|h)")
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)%")
_EXAMPLE: Final = (
    "Write for example --limit 40/s, --limit 600/m,kind=fixed-window,headers=retry-after-seconds "
    "or --limit 40/s,burst=5,headers=ratelimit-draft+retry-after-date."
)

_M = TypeVar("_M", bound=pydantic.BaseModel)


def parse_limit(text: str) -> Limit:
    """Return the limit that `text` means: `N/[X]unit` and `,name=value` for the rest; `+` joins header forms.

    Raises:
        UsageError: It is no limit.
    """
    rate, *settings = text.split(",")
    match = _RATE.fullmatch(rate.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a limit. {_EXAMPLE}")
    fields: dict[str, Any] = {
        "requests": match[1],
        "per_s": float(match[2] or 1) * _UNIT_S[match[3]],
        **_pairs(settings, f"the limit {text!r}"),
    }
    if "headers" in fields:
        fields["headers"] = fields["headers"].split("+")
    return _validate(Limit, fields, f"the limit {text!r}", _EXAMPLE)


def parse_trouble(flags: Iterable[str], limits: Iterable[str], file: Path | None) -> Trouble:
    """Return the trouble of `file` (JSON, the fields of `Trouble`) with `flags` and `limits` put over it.

    A flag is `name` (a share of 1), `name=value`, `outage=503,from=100,for=5` or
    `for-user=KIND:USER_ID`. Limits and outages are added to those of the file.

    Raises:
        UsageError: A flag or the file is wrong.
    """
    fields = _read(file) if file is not None else {}
    for flag in flags:
        name, equals, value = flag.partition("=")
        name = name.strip().replace("-", "_")
        reader = _SPECIAL.get(name, _plain)
        reader(fields, name, value.strip() if equals else "1", flag)
    fields["limits"] = [*fields.get("limits", []), *(parse_limit(text).model_dump() for text in limits)]
    example = "Write for example --trouble server-error=5% --trouble slow=0.1 --trouble slow-s=2."
    return _validate(Trouble, fields, "the trouble", example)


def make_options(**fields: Any) -> SandboxOptions:
    """Return the options that `fields` make.

    Raises:
        UsageError: One of them is wrong.
    """
    return _validate(SandboxOptions, fields, "the sandbox's options", "")


def _plain(fields: dict[str, Any], name: str, value: str, _flag: str) -> None:
    percent = _PERCENT.fullmatch(value)
    fields[name] = float(percent[1]) / 100 if percent else value


def _statuses(fields: dict[str, Any], name: str, value: str, _flag: str) -> None:
    fields[name] = value.split(",")


def _redirect_status(fields: dict[str, Any], name: str, value: str, _flag: str) -> None:
    fields[name] = int(value) if value.isdigit() else value


def _outage(fields: dict[str, Any], _name: str, value: str, flag: str) -> None:
    kind, *settings = value.split(",")
    given = _pairs(settings, f"the trouble {flag!r}")
    outage = {"kind": kind, "from_request": given.pop("from", "1"), "for_s": given.pop("for", None), **given}
    example = "Write for example --trouble outage=503,from=100,for=5 (or refuse, reset, stall)."
    made = _validate(Outage, outage, f"the trouble {flag!r}", example)
    fields["outages"] = [*fields.get("outages", []), made.model_dump()]


def _for_user(fields: dict[str, Any], _name: str, value: str, _flag: str) -> None:
    kind, _, user_id = value.partition(":")
    fields["for_users"] = {**fields.get("for_users", {}), user_id: kind.replace("-", "_")}


_SPECIAL: Final[Mapping[str, Callable[[dict[str, Any], str, str, str], None]]] = {
    "server_error_statuses": _statuses,
    "foreign_statuses": _statuses,
    "redirect_status": _redirect_status,
    "outage": _outage,
    "for_user": _for_user,
}


def _pairs(settings: Iterable[str], where: str) -> dict[str, str]:
    """Return `name=value` settings by name."""
    found = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"In {where}, {setting!r} is no setting: write name=value.")
        found[name.strip().replace("-", "_")] = value.strip()
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The trouble file {file} cannot be read: {error}.") from error
    try:
        return Trouble.model_validate_json(text).model_dump()
    except pydantic.ValidationError as error:
        raise UsageError(f"The trouble file {file} is wrong: {_sentence(error)}") from error


def _validate(model: type[_M], fields: Mapping[str, Any], what: str, example: str) -> _M:
    try:
        return model.model_validate(fields)
    except pydantic.ValidationError as error:
        raise UsageError(f"There is a mistake in {what}: {_sentence(error)} {example}".rstrip()) from error


def _sentence(error: pydantic.ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}." if where else f"{first['msg']}."
