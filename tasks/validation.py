"""pydantic's errors in a record or a manifest, as an `InputError` of one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Any, get_args, get_type_hints

from pydantic import ConfigDict, ValidationError

from points24.tasks.errors import InputError

STRICT_CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""For pydantic dataclasses: values are not converted, unknown keys are refused, numbers are finite.

Nested dataclasses need `TypeAdapter.validate_json`: strict validation of Python values accepts no dict for a
dataclass and no list for a tuple.
"""


@contextmanager
def errors_in_one_line(cls: type, whole: str = "") -> Iterator[None]:
    """Turn a ValidationError of a dataclass into an `InputError` about its first error.

    A validator raises `ValueError("expected …")`, which is completed with the place and the value found, or
    an `InputError` that is already complete.

    Args:
        cls: the pydantic dataclass that is validated.
        whole: what to call the value itself, such as ``manifest``.
    """
    try:
        yield
    except ValidationError as e:
        raise InputError(_line(e, cls, whole)) from e


def _line(error: ValidationError, cls: type, whole: str) -> str:
    first: Any = error.errors(include_url=False)[0]
    kind, loc = first["type"], tuple(part for part in first["loc"] if part != "[key]")
    # ("drift", 3, "values") -> drift[3].values
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")
    if kind == "unexpected_keyword_argument":
        allowed = ", ".join(field.name for field in fields(_at(cls, loc[:-1])))
        return f"{place}: unknown key; allowed: {allowed}"
    if kind.startswith("missing"):
        return f"{place}: missing"
    cause = (first.get("ctx") or {}).get("error")
    if isinstance(cause, InputError):
        return str(cause)
    plain = first["msg"].replace("Input should be", "expected")
    expected = str(cause or plain.replace("greater than or equal to", "at least"))
    return f"{place or whole}: {expected}, found {first['input']!r:.80}".removeprefix(": ")


def _at(kind: Any, loc: tuple[str | int, ...]) -> Any:
    """The type at a place inside nested dataclasses, lists, tuples and dicts."""
    for part in loc:
        if is_dataclass(kind):
            kind = get_type_hints(kind)[str(part)]
            members = [each for each in get_args(kind) if each is not NoneType]
            kind = members[0] if len(members) < len(get_args(kind)) else kind  # X | None
        else:
            kind = next(each for each in reversed(get_args(kind)) if each is not Ellipsis)
    return kind
