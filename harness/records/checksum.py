"""A checksum in each line of a file of records, so that a damaged line is not taken for another result.

Without it, one in six flipped bits of a line leaves a valid record. CRC-32 notices every flip of one to three
bits in a line of up to 11 KB, and all but one in 4 · 10⁹ of any other damage. Lines from before there were
checksums are read without. It is taken over what a line says, not over its bytes: other spaces or escapes are
the same line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from zlib import crc32

from points24.tasks.errors import InputError

KEY = "checksum"


def line_of(row: Mapping[str, Any]) -> str:
    """A record as one line of JSON with its checksum at the end, without the line break.

    Raises:
        InputError: it holds half of a surrogate pair.
        ValueError: it holds NaN or an infinity, which JSON has not.
    """
    return _text({**row, KEY: _checksum(row)}, allow_nan=False)


def verified(row: object) -> dict[str, Any]:
    """A decoded line of JSON, without its checksum.

    Raises:
        InputError: it is no object, holds half of a surrogate pair, or differs from what was written.
    """
    if not isinstance(row, dict):
        raise InputError(f"expected a JSON object, found {type(row).__name__}")
    fields = {name: value for name, value in row.items() if name != KEY}
    found = _checksum(fields)
    if KEY in row and row[KEY] != found:
        raise InputError(
            f"{KEY}: expected {found} for this content, found {row[KEY]!r:.40}: the line is damaged, or was "
            f"edited (then remove its {KEY})"
        )
    return fields


def _checksum(row: Mapping[str, Any]) -> str:
    try:
        return f"{crc32(_text(row).encode()):08x}"
    except UnicodeEncodeError as e:
        raise InputError(
            f"half of a surrogate pair, {e.object[e.start]!r}: no text that can be stored"
        ) from e


def _text(row: Mapping[str, Any], *, allow_nan: bool = True) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(", ", ": "), allow_nan=allow_nan)
