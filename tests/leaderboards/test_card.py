import argparse
import struct

import pytest

from points24.harness.records.store import add_records
from points24.leaderboards.card import card, card_of
from points24.tasks.errors import InputError
from tests.harness.analysis.test_recovery import ON_ID, bits, recovered
from tests.leaderboards.conftest import record

render = pytest.importorskip("points24.leaderboards.render.card", reason="needs the extra `plots`")

# OOD and ID deals won of 20, by step.
SCORES = {5: (15, 8), 10: (12, 10), 400: (3, 18)}
PAIR = ("run/checkpoint-5", "run/checkpoint-400")


def run(*argv: object) -> int:
    parser = argparse.ArgumentParser()
    card.add_arguments(parser)
    return card.run(parser.parse_args([*map(str, argv)]))


@pytest.fixture
def demo(tmp_path):
    """A folder as `points24 demo` leaves it."""
    own = []
    for step, (ood, of_id) in SCORES.items():
        about = {"model": f"run/checkpoint-{step}", "step": step, "stage": "SFT"}
        verdicts = {"correct": ood, "wrong_rule": 20 - ood}
        own += [record(bits(ood), verdicts=verdicts, **about), record(bits(of_id), **ON_ID | about)]
    add_records(tmp_path / "sft-0" / "records" / "a.jsonl", own)
    add_records(tmp_path / "sweep-0" / "records" / "a.jsonl", recovered("made", 9, 12, pair=PAIR))
    return tmp_path


def test_a_card_is_one_picture_of_a_demo_the_same_bytes_every_time(demo, capsys):
    assert run(demo) == 0
    assert capsys.readouterr().out == f"{demo / 'card.png'}\n"
    first = (demo / "card.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert struct.unpack(">II", first[16:24]) == (1200, 630)
    run(demo, "-o", demo / "again.png")
    assert (demo / "again.png").read_bytes() == first


def test_a_card_asks_the_question_and_shows_what_the_records_say(demo):
    found = card_of(demo / "sft-0" / "records", demo / "sweep-0" / "records", "strict-match")
    figure = render.card_figure(found)
    words = "\n".join(text.get_text() for text in figure.texts)
    assert "generalise, or memorise the rule?" in words
    assert "50 %" in words  # 9 lies halfway between 3 and 15
    over_steps, replies = figure.axes
    memorised = over_steps.lines[-1]
    assert list(memorised.get_xdata()) == [5, 10, 400]
    assert list(memorised.get_ydata()) == pytest.approx([25, 40, 85])
    assert [label.get_text() for label in replies.get_yticklabels()] == ["best OOD", "final", "recovered"]
    assert {"75", "25", "15", "85"} <= {text.get_text() for text in replies.texts}


def test_without_recovered_checkpoints_a_card_tells_of_forgetting(demo):
    found = card_of(demo / "sft-0" / "records", None, "strict-match")
    assert "OOD accuracy falls" in render.card_figure(found).texts[-1].get_text()


def test_what_cannot_be_shown_or_written_is_one_line(demo):
    for argv, said in (
        ((demo / "none",), "no such folder"),
        ((demo, "-o", "card.jpg"), "ends in .png"),
        ((demo / "sft-0", "--recovered", demo / "sft-0"), "nothing was recovered into run/checkpoint-400"),
        ((demo, "-o", demo / "sft-0" / "records" / "a.jsonl" / "card.png"), "card.png: "),
    ):
        with pytest.raises(InputError, match=said) as raised:
            run(*argv)
        assert "\n" not in str(raised.value)
