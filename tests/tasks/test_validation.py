"""One line of an error, wherever in a nested value it lies."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from points24.tasks.errors import InputError
from points24.tasks.validation import STRICT_CONFIG, errors_in_one_line


@dataclass(frozen=True, kw_only=True, config=STRICT_CONFIG)
class Inner:
    values: tuple[float, ...]
    name: str | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT_CONFIG)
class Outer:
    rows: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] | None = None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[]", "outer: expected an object, found []"),
        ('{"more": 1}', "more: unknown key; allowed: rows, by_name"),
        (
            '{"rows": [{"values": []}, {"values": [], "x": 1}]}',
            "rows[1].x: unknown key; allowed: values, name",
        ),
        ('{"by_name": {"a": {"values": [], "x": 1}}}', "by_name.a.x: unknown key; allowed: values, name"),
        ('{"by_name": {"a": {}}}', "by_name.a.values: missing"),
        ('{"rows": [{"values": [1, NaN]}]}', "rows[0].values[1]: expected a finite number, found nan"),
        ('{"rows": [{"values": [], "name": 3}]}', "rows[0].name: expected a valid string, found 3"),
    ],
)
def test_the_first_thing_wrong_is_named(text, line):
    with pytest.raises(InputError) as error, errors_in_one_line(Outer, "outer"):
        TypeAdapter(Outer).validate_json(text)
    assert str(error.value) == line
