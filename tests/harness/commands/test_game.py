import io
import json
import sys

import pytest
from datasets import load_dataset

from points24.harness.cli import main
from points24.tasks.hand_sets import hand_set
from points24.tasks.verdict import Verdict, judge
from tests.conftest import read_cases


def run(capsys, *argv: str) -> tuple[int, str, str]:
    status = main(argv)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def rows(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def test_solve_prints_a_formula_per_line(capsys):
    assert run(capsys, "solve", "3", "3", "8", "8") == (0, "8/(3-8/3)\n", "")
    assert run(capsys, "solve", "K", "5", "A", "2", "--rule", "ood")[1].split() == [
        "1+13+2*5",
        "(1+2)*(13-5)",
    ]
    assert run(capsys, "solve", "a,a,a,a", "--target", "4")[1].split()[0] == "1+1+1+1"


def test_solve_says_so_when_there_is_none(capsys):
    status, out, err = run(capsys, "solve", "A", "A", "A", "A")
    assert (status, out, err) == (0, "", "no formula of 1 1 1 1 equals 24\n")


def test_solve_takes_plain_numbers_and_other_sizes_of_deals(capsys):
    assert run(capsys, "solve", "25", "3", "7", "--rule", "numbers", "--target", "82")[1] == "25*3+7\n"
    assert "10*2+5" in run(capsys, "solve", "K", "5", "2", "--target", "25")[1].split()


def test_solve_as_json(capsys):
    (row,) = rows(run(capsys, "solve", "3", "3", "8", "8", "--json")[1])
    assert row == {"cards": ["3", "3", "8", "8"], "rule": "id", "target": 24, "solutions": ["8/(3-8/3)"]}


@pytest.mark.parametrize(
    ("argv", "verdict"),
    [
        (["--rule", "ood", "13+5*2+1"], "correct"),
        (["--rule", "ood", "10+5*2+4"], "wrong_numbers"),
        (["--rule", "id", "13+5*2+1"], "wrong_rule"),
        (["--rule", "ood", "--target", "22", "13+5*2-1"], "correct"),
        (["--rule", "ood", '{"cards": [], "number": [], "formula": "13+5*2+1"}'], "correct"),
        (["--rule", "ood", "I say 13+5*2+1"], "illegal"),
        (["--rule", "ood", "--filter", "flexible-extract", "I say 13+5*2+1"], "correct"),
        (["--rule", "ood", ""], "no_answer"),
    ],
)
def test_check_judges_a_formula_or_a_reply(capsys, argv, verdict):
    status, out, _ = run(capsys, "check", "--cards", "K 5 A 2", *argv)
    assert status == 0
    assert out.startswith(f"{verdict}: ")
    (row,) = rows(run(capsys, "check", "--json", "--cards", "K 5 A 2", *argv)[1])
    assert row["verdict"] == verdict


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('{"formula": "13+5*2+1"}', 'strict-match needs the keys cards, number, formula; missing: cards, number'),
        ('{"cards": [], "number": []}', "strict-match needs the keys cards, number, formula; missing: formula"),
        ('{"cards": [], "number": [], "formula": 24}', "no formula found"),
        ('{"formula": ', "no formula found"),
    ],
)  # fmt: skip
def test_check_names_the_keys_that_a_reply_lacks(capsys, answer, reason):
    out = run(capsys, "check", "--cards", "K 5 A 2", answer)[1]
    assert out == f"no_answer: {reason}\n"


def test_check_judges_a_batch_as_one_by_one(capsys, tmp_path):
    batch = tmp_path / "batch.jsonl"
    rank = {1: "A", 11: "J", 12: "Q", 13: "K"}
    cases = read_cases("answers.jsonl")
    with batch.open("w") as file:
        for case in cases:
            cards = [rank.get(n, str(n)) for n in case["hand"]]
            file.write(json.dumps({"cards": cards, "rule": "ood", "answer": case["answer"]}) + "\n")
    status, out, err = run(capsys, "check", "--batch", str(batch), "--json")
    assert status == 0
    assert [row["verdict"] == "correct" for row in rows(out)] == [case["truth"] for case in cases]
    assert err.startswith(f"{len(cases)} answers: ")


def test_a_batch_takes_any_answer(capsys, monkeypatch):
    answers = [
        24,
        10**5000,
        2.4,
        None,
        True,
        ["8/(3-8/3)"],
        {"formula": "8/(3-8/3)"},
        "",
        "\ud800",
        "9" * 10_000,
        "8/(3-8/3)",
    ]
    sys.set_int_max_str_digits(10_000)
    lines = [json.dumps({"cards": "8 8 3 3", "id": i, "answer": answer}) for i, answer in enumerate(answers)]
    sys.set_int_max_str_digits(4300)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
    status, out, _ = run(capsys, "check", "--batch", "-", "--json")
    assert status == 0
    assert [row["id"] for row in rows(out)] == list(range(len(answers)))
    verdicts = [row["verdict"] for row in rows(out)]
    assert verdicts == ["no_answer"] * 8 + ["illegal", "illegal", "correct"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"cards": ["8","8"], "answer": ""}', "row 2: a deal has 3 to 6 cards, found 2: 8 8"),
        ('{"cards": ["8","8","3","11"], "answer": ""}', "row 2: unknown rank '11'"),
        ('{"cards": ["8","8","3","3"], "answer": "", "rule": "x"}', "row 2: unknown rule 'x'"),
        ('{"cards": ["8","8","3","3"], "answer": "", "target": "x"}', "row 2: the target is a whole number"),
        ('{"cards": ["8","8","3","3"]}', "row 2: missing key answer"),
        ('{"cards": 8833, "answer": ""}', "row 2: cards: expected a list of ranks, found 8833"),
        ("[1, 2]", "row 2: expected an object, found list"),
        ("{", "row 2: not JSON: "),
        ('{"cards": ["8","8","3","3"], "answer": ' + "[" * 100_000, "row 2: nested too deeply"),
    ],
)
def test_a_bad_row_is_named(capsys, tmp_path, line, message):
    batch = tmp_path / "batch.jsonl"
    batch.write_text('{"cards": ["8","8","3","3"], "answer": "8/(3-8/3)"}\n' + line + "\n")
    status, out, err = run(capsys, "check", "--batch", str(batch))
    assert status == 2
    assert out == "correct: equals 24\n"
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["solve", "3", "3"], "a deal has 3 to 6 cards, found 2: 3 3"),
        (["solve", "3", "3", "8", "1"], "unknown rank '1'; allowed: A 2 3 4 5 6 7 8 9 10 J Q K"),
        (["solve", "3", "3", "8", "8", "--rule", "J=5"], "unknown rule 'J=5'"),
        (["check", "1+1"], "expected --cards and an answer"),
        (["check", "--batch", "/nowhere"], "/nowhere: No such file or directory"),
        (["check", "--batch", "-", "1+1"], "--batch takes cards and answers from its rows"),
        (["deals", "odd"], "unknown hand set 'odd'; allowed: id, ood"),
        (["solve", "3", "K", "8", "--rule", "numbers"], "expected whole numbers from 1 to 999, found 'K'"),
        (["deals", "tot", "--rule", "ood"], "hand set 'tot': expected rule numbers, found ood"),
        (["deals", "countdown", "--target", "24"], "hand set 'countdown': its rule and target are fixed"),
        (["deals", "id", "--format", "parquet"], "parquet is binary: name a file with -o"),
        (
            ["deals", "id", "--format", "parquet", "-o", "x.jsonl"],
            "x.jsonl: --format parquet writes .parquet",
        ),
        (["deals", "id", "--format", "jsonl", "-o", "x.parquet"], "x.parquet: --format jsonl writes .jsonl"),
        (["deals", "id", "-o", "/nowhere/at/all"], "/nowhere/at/all: No such file or directory"),
        (["model", "nano-odd"], "unknown model 'nano-odd'; allowed: nano-base, nano-plain"),
        (["train", "nano", "seed"], "expected key=value, found 'seed'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(capsys, argv, message):
    status, out, err = run(capsys, *argv)
    assert (status, out) == (2, "")
    assert err.startswith("points24: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_deals_lists_the_hand_sets(capsys):
    out = run(capsys, "deals")[1]
    assert "ood           796 deals" in out


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_deals_load_as_a_dataset(capsys, tmp_path, form):
    file = tmp_path / f"ood.{form}"
    assert run(capsys, "deals", "ood", "--format", form, "-o", str(file))[0] == 0
    data = load_dataset(
        "json" if form == "jsonl" else form, data_files=str(file), split="train", cache_dir=str(tmp_path)
    )
    hands = hand_set("ood")
    assert [tuple(cards) for cards in data["cards"]] == [deal.cards for deal in hands.deals]
    assert list(data["weight"]) == list(hands.weights)
    for deal, formulas in zip(hands.deals[:50], data["solutions"], strict=False):
        assert formulas
        assert all(judge(deal, formula).verdict is Verdict.CORRECT for formula in formulas)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".partial"] == []


def test_deals_to_standard_output_equal_the_file(capsys, tmp_path):
    file = tmp_path / "deals.jsonl"
    run(capsys, "deals", "id_paper", "-o", str(file))
    assert run(capsys, "deals", "id_paper")[1] == file.read_text()
    assert len(file.read_text().splitlines()) == 234
