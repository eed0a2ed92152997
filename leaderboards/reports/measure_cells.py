"""How a measure over the seeds reads in a table."""

from __future__ import annotations

from points24.harness.analysis import formats
from points24.harness.analysis.statistics import Interval
from points24.harness.experiment.measures import Measure
from points24.harness.experiment.values import Value
from points24.leaderboards.render.tables import escape

UNITS = {"points": "points", "percent": "%", "number": ""}
_UNKNOWN, _UNDEFINED = "not measured", "not defined"


def accuracy_cell(measure: Measure, *, with_unit: bool = False) -> str:
    """The mean and interval of what lies within 0 and 100 %; empty where it is not defined."""
    if measure.mean is None:
        return ""
    bounds = measure.interval and Interval(max(0.0, measure.interval.low), min(1.0, measure.interval.high))
    return bounded_cell(measure, bounds, with_unit=with_unit)


def mean_cell(measure: Measure, *, with_unit: bool = False) -> str:
    """The mean with one interval: over the seeds, or if that is not defined over the deals."""
    return bounded_cell(measure, measure.interval, with_unit=with_unit)


def bounded_cell(measure: Measure, interval: Interval | None, *, with_unit: bool = False) -> str:
    if measure.mean is None:
        is_measured = any(value is not None for value in measure.values)
        return _UNDEFINED if is_measured else _UNKNOWN
    unit = UNITS[measure.unit] if with_unit else ""
    parts = _number(measure.mean, measure.unit), unit, bounds_cell(interval, measure.unit)
    return " ".join(filter(None, parts))


def value_cell(value: Value | None, unit: str) -> str:
    if value is None:
        return ""
    if value.is_unbounded:
        return _UNDEFINED
    return " ".join(filter(None, (_number(value.share, unit), bounds_cell(value.interval, unit))))


def bounds_cell(found: Interval | None, unit: str) -> str:
    """An interval; none of zero width, which would claim a certainty that a finite sample cannot give."""
    if found is None or found.low == found.high:
        return ""
    return escape(f"[{_number(found.low, unit)}, {_number(found.high, unit)}]")


def _number(share: float, unit: str) -> str:
    if unit == "points":
        return formats.points(share)
    text = f"{share:+.3f}" if unit == "number" else formats.percent(share)
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", formats.MINUS)
