"""What can be reached, by nothing but fractions."""

from collections.abc import Sequence
from fractions import Fraction


def reaches(numbers: Sequence[Fraction], target: int) -> bool:
    """Every order of every operation on every pair."""
    if len(numbers) == 1:
        return numbers[0] == target
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers):
            if i != j:
                rest = [number for k, number in enumerate(numbers) if k not in (i, j)]
                for value in (a + b, a - b, a * b, *([a / b] if b else [])):
                    if reaches([value, *rest], target):
                        return True
    return False
