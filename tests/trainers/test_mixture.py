import json
import re
from collections import Counter
from itertools import islice
from typing import Any

import pytest

from points24.harness.config import configured
from points24.tasks.cards import RULES, Deal, Rule, parse_rule
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import held_out_numbers
from points24.tasks.prompts import template
from points24.tasks.protocols.protocol import read_protocol
from points24.tasks.verdict import EXTRACTIONS, Verdict, judge_reply
from points24.trainers.deals import examples
from points24.trainers.mixture import Shown, Shows, rows, shown_rules, solved_deals
from points24.trainers.run.models import load_model, load_tokenizer
from points24.trainers.sft import SFTConfig, build_trainer
from tests.tasks.oracle import is_correct

ID, NINES = RULES["id"], Rule(9, 9, 9)
POINTS24 = read_protocol("points24")
TRAINED = {
    "model_name_or_path": "nano-steps",
    "max_steps": 2,
    "save_strategy": "no",
    "logging_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "score_tasks": [],
}
SETTINGS = {"output_dir": "x", "max_steps": 4, "save_steps": 4, "use_cpu": True, "bf16": False}


def shows(*rules, wordings=None, working="none"):
    shown = tuple(Shown(rule, weight) for rule, weight in rules)
    return Shows(shown, wordings or (template(),), "random", working, 0)


def test_one_rule_gives_the_stream_of_before():
    ours = islice(solved_deals(shows((ID, 5.0))), 300)
    assert list(ours) == list(islice(examples(ID, "random", 0), 300))


def test_rules_come_by_weight_each_with_its_own_right_solutions():
    drawn = list(islice(solved_deals(shows((ID, 1.0), (NINES, 3.0))), 2000))
    assert all(is_correct(formula, list(deal.values), 24) for deal, formula in drawn)
    counts = Counter(deal.rule for deal, _ in drawn)
    assert counts.keys() == {ID, NINES}
    assert abs(counts[NINES] / 2000 - 0.75) < 0.04  # four standard deviations
    assert not {tuple(sorted(deal.values)) for deal, _ in drawn} & held_out_numbers()


def test_a_row_states_its_rule_in_one_of_the_wordings(tmp_path):
    other = tmp_path / "other.jinja"
    other.write_text("{{ cards | join(' ') }} J={{ J }}")
    both = shows((ID, 1.0), (NINES, 1.0), wordings=(template(), template(str(other))))
    found = Counter()
    for row in islice(rows(both, POINTS24, chat=False), 400):
        stated = re.search(r"J=(\d+)$|J counts as (\d+)", row["prompt"])
        assert stated
        said = json.loads(row["completion"])
        values = dict(zip(said["cards"], said["number"], strict=True))
        assert values.get("J", int(stated[1] or stated[2])) == int(stated[1] or stated[2])
        found[stated[1] is None, stated[1] or stated[2]] += 1
    assert len(found) == 4
    assert min(found.values()) > 60


def test_sorted_batches_hold_the_same_rows_and_have_the_same_loss(tmp_path):
    losses, shown = [], []
    for settings in (
        {"per_device_train_batch_size": 8},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "sort_batches": True},
    ):
        given = TRAINED | {"working": "search", "output_dir": str(tmp_path / f"{len(losses)}")} | settings
        config = configured(SFTConfig, given)
        trainer = build_trainer(config, load_model(config), load_tokenizer(config.parent, chat=False), [])
        drawn: Any = trainer.train_dataset
        shown.append([tuple(ids) for ids in drawn["input_ids"]])
        trainer.train()
        losses.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
    plain, in_order = ([each[:8], each[8:]] for each in shown)
    assert [sorted(batch) for batch in plain] == [sorted(batch) for batch in in_order]
    padded = [
        sum(2 * max(len(ids) for ids in each[start : start + 2]) for start in range(0, 16, 2))
        for each in shown
    ]
    assert padded[1] < 0.9 * padded[0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("working", ["steps", "search"])
def test_worked_replies_are_right_under_every_filter_of_the_protocol(working):
    drawn = zip(
        islice(rows(shows((ID, 1.0), working=working), POINTS24, chat=False), 200),
        islice(solved_deals(shows((ID, 1.0))), 200),
        strict=True,
    )
    for row, (deal, _) in drawn:
        assert row["completion"].startswith("<think>\n")
        for extraction in POINTS24.filters:
            assert judge_reply(deal, row["completion"], extraction).verdict is Verdict.CORRECT


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["id", "ood"], "rules: ood has J=11, as the OOD rule has"),
        (["id", {"J": 9, "Q": 9, "K": 13}], "rules: J=9,Q=9,K=13 has K=13, as the OOD rule has"),
        (["id", "J=10,Q=10,K=10"], "rules: id stands there twice"),
        ([{"rule": "id", "weight": 0}], "rules: expected a weight above 0, found 0"),
        ([{"rule": "id", "weight": "x"}], "rules: expected a number as weight, found 'x'"),
        ([{"J": 9, "Q": 9}], "unknown rule 'J=9,Q=9'; allowed: id, ood, or a mapping"),
        (["nines"], "unknown rule 'nines'; allowed: id, ood, or a mapping"),
    ],
)
def test_rules_that_cannot_be_shown_are_refused(given, message):
    with pytest.raises(InputError, match=re.escape(message)):
        configured(SFTConfig, SETTINGS | {"rules": given})


def test_rules_are_read_by_name_and_mapping():
    given = ["id", {"J": 9, "Q": 9, "K": 9, "weight": 2}, {"rule": "J=5,Q=7,K=9", "weight": 0.5}]
    assert shown_rules(given) == ((ID, 1.0), (NINES, 2.0), (parse_rule("J=5,Q=7,K=9"), 0.5))


def test_working_needs_a_protocol_that_leaves_it_out(tmp_path):
    with pytest.raises(InputError, match="working: expected none or steps or search, found 'some'"):
        configured(SFTConfig, SETTINGS | {"working": "some"})
    whole = tmp_path / "whole"
    whole.mkdir()
    asked = read_protocol("paper")
    (whole / "protocol.yaml").write_text(asked.settings_text().replace("name: paper", "name: whole"))
    (whole / "prompt.jinja").write_text(asked.prompt_source)
    (whole / "reply.jinja").write_text('{"formula":"{{ formula }}"}')  # found only where the reply is JSON
    with pytest.raises(InputError, match="working: protocol whole allows none"):
        configured(SFTConfig, SETTINGS | {"working": "steps", "protocol": str(whole)})


def test_the_probe_of_a_protocol_is_a_deal_of_every_filter():
    """What `check_working` relies on."""
    deal = Deal(("K", "5", "A", "2"), RULES["ood"])
    for name in ("points24", "paper"):
        asked = read_protocol(name)
        assert asked.own_filter in EXTRACTIONS
        assert asked.verify(deal, asked.reply(deal, "13+5*2+1")).success


def test_the_same_seed_draws_the_same_rows():
    mixed = shows((ID, 1.0), (NINES, 1.0), working="search")
    first, second = (list(islice(rows(mixed, POINTS24, chat=True), 50)) for _ in range(2))
    assert first == second
