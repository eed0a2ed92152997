from fractions import Fraction

import pytest

from points24.tasks.formula import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_LENGTH,
    FormulaError,
    evaluate,
    numbers,
    parse,
    parse_flexible,
)

LETTERS = {"A": 1, "J": 11, "Q": 12, "K": 13}


def flexible(text: str):
    return parse_flexible(text, LETTERS, 24)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/(3-8/3)", Fraction(24)),
        ("1-2-3-4", Fraction(-8)),
        ("2*3+4*5", Fraction(26)),
        ("24/2/3", Fraction(4)),
        (" ( 1 + 2 )\t*\n3 ", Fraction(9)),
        ("0", Fraction(0)),
        ("1/3", Fraction(1, 3)),
    ],
)
@pytest.mark.parametrize("read", [parse, flexible])
def test_arithmetic_is_exact_and_left_to_right(text, value, read):
    assert evaluate(read(text)) == value


def test_numbers_come_from_left_to_right():
    assert numbers(parse("8/(3-8/3)")) == [8, 3, 8, 3]


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "()", "1+", "*1", "(1", "1)", "1 2", "1(2)", "(1)(2)", "-1", "+1", "1*-2", "--1", "01", "00",
        "1.5", "1e3", "0x18", "1_0", "2**3", "2^3", "7//2", "4!", "4%3", "1|2", "1<2", "1=1", "1==1", "a", "K",
        "1,2", "[1]", "{1}", "1×2", "1−2", "１+1", "٣+1", "1+1#", '"1"', "1;2", "1\u00a0+1", "\\frac{1}{2}",
    ],
)  # fmt: skip
def test_the_strict_grammar_takes_nothing_else(text):
    with pytest.raises(FormulaError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8÷(3−8÷3)", 24), ("2×3·4", 24), ("2\\times 3\\cdot 4", 24), ("\\frac{8}{3-\\frac{8}{3}}", 24),
        ("\\dfrac{48}{\\tfrac{4}{2}}", 24), ("\\left(1+2\\right)\\times8", 24), ("48\\div 2", 24), ("[5+1]*4", 24),
        ("[(1+2)*4]*2", 24), ("6*4=24", 24), ("6*4 = 3*8 = 24", 24), ("24=6*4", 24), ("24 = 6*4 = 3*8", 24), ("24=8*3=(6-3)*8", 24), ("K+J", 24), ("Q*(A+A)", 24),
    ],
)  # fmt: skip
def test_the_flexible_grammar_takes_other_signs_for_the_same_things(text, value):
    assert evaluate(flexible(text)) == value


@pytest.mark.parametrize(
    "text",
    [
        "6*4=25", "25=6*4", "6*4=99*7=24", "24=6*4=25", "6*4*1=1/(2-2)=24", "6*4=", "=24", "6*4==24", "6*4=12*2", "(1+2]", "[1+2)", "-(1-5)*6", "+6*4", "6*-4",
        "2**3", "2^3", "(5+1)4", "6＊4", "24 = 24 = 25", "5 = 5 = 24", "300=300=24", "\\frac{8}", "\\frac{8}{3", "\\frac(8)(3)", "{8}/{3}",
        "\\sqrt{4}", "k+j", "T+2", "6x4", "AK", "1.5*16", "4!", "\\pi", "6*4=24.", "6*4=24 1",
    ],
)  # fmt: skip
def test_the_flexible_grammar_has_its_limits(text):
    with pytest.raises(FormulaError):
        flexible(text)


@pytest.mark.parametrize("read", [parse, flexible])
def test_length_depth_and_digits_are_bounded(read):
    assert read("(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH) == 1
    assert read("9" * MAX_DIGITS) == 10**MAX_DIGITS - 1
    assert read("1" + " " * (MAX_LENGTH - 1)) == 1
    for text in (
        "(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1),
        "9" * (MAX_DIGITS + 1),
        "1" + " " * MAX_LENGTH,
    ):
        with pytest.raises(FormulaError):
            read(text)


def test_division_by_zero_raises():
    with pytest.raises(ZeroDivisionError):
        evaluate(parse("1/(2-2)"))
