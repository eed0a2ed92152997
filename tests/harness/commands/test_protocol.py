"""``points24 protocol`` on a stand-in clone: the reference's shape with words of our own."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from points24.harness.commands.protocol import protocol as command
from points24.tasks.cards import RULES, Deal, Rule
from points24.tasks.errors import InputError
from points24.tasks.protocols import reference
from points24.tasks.protocols.protocol import read_protocol

PROMPT = """
<Play>
Reach {target_number}. Careful: {face_card_msg}!
{{% {{# [Hand] {cards} {{
"formula": '= {target_number}' }}

"""
REPLY = """
{{ {cards} | {numbers} | "formula": "{formula}", }}"""
TEN, FACES = "pictures are 'ten'", 'pictures are eleven, "twelve", thirteen'
DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])

PROMPTS_FILE = f'''
import os
os.abort()
Q_OTHER = "not this one"
Q_GeneralPoint_EQN_L = """{PROMPT}"""
ResponseEqn = """{REPLY}"""
open("{{side_effect}}", "w")
'''
VERIFIER_FILE = """
raise SystemExit("code that runs")
def step_rewards_virl(s):
    s.add(REWARD_FN["NO_SOLUTION"], "not this one")
def step_rewards(formula):
    if formula:
        stepper.add(REWARD_FN["ILLEGAL_FORMULA"], "odd sign {")
        return stepper
    for token in formula:
        stepper.add(REWARD_FN["ILLEGAL_FORMULA"], "after n")
        stepper.add(REWARD_FN["ILLEGAL_FORMULA"], "after o")
        stepper.add(REWARD_FN["ILLEGAL_FORMULA"], "before b")
        stepper.add(REWARD_FN["ILLEGAL_FORMULA"], "unopened")
        stepper.add(REWARD_FN["ILLEGAL_FORMULA"], "after b")
        stepper.add(REWARD_FN["ILLEGAL_FORMULA"], "strange")
    stepper.add(REWARD_FN["INCORRECT_NUMBER"], f"foreign {invalid}")
    stepper.add(REWARD_FN["INCORRECT_NUMBER"], f"many {overused} times")
    stepper.add(REWARD_FN["INCORRECT_NUMBER"], f"missing {unused}")
    stepper.add(REWARD_FN["CORRECT_SOLUTION"], "yes")
    stepper.add(REWARD_FN["PARTIAL_SOLUTION"], "almost")
    stepper.add(REWARD_FN["NO_SOLUTION"], "off")
    stepper.add(REWARD_FN["NO_SOLUTION"], f"{before} is fine, the rest is off")
"""
FACES_FILE = f"""
class Evaluator:
    def arguments(self):
        self.words["face_card_msg"] = {TEN!r} if self.treat_as_ten else {FACES!r}
"""
FRAME_FILE = """
class Evaluator:
    def ask(self, info):
        self.say(f"Nothing about {info['Cards']}")
        self.say(f"Not yet: {info['Verify Info']}")
"""


@pytest.fixture
def clone(tmp_path):
    files = {
        reference.PROMPTS: PROMPTS_FILE.replace("{side_effect}", str(tmp_path / "ran")),
        reference.VERIFIER: VERIFIER_FILE,
        reference.FACE_CARDS: FACES_FILE,
        reference.FRAME: FRAME_FILE,
    }
    for name, text in files.items():
        path = tmp_path / "clone" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "clone"


def run(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def imported(clone):
    out = clone.parent / "out"
    assert run("import", clone, "-o", out) == 0
    return read_protocol(str(out))


def test_the_prompts_are_the_clones_byte_for_byte(clone):
    found = imported(clone)
    for rule, message in (("id", TEN), ("ood", FACES)):
        expected = PROMPT.format(target_number="24", cards=["K", "5", "A", "2"], face_card_msg=message)
        assert found.prompt.render(DEAL.under(RULES[rule])) == expected
        assert (clone.parent / "out" / f"example_{rule}.txt").read_bytes() == expected.encode()
    assert found.reply(DEAL, "1+1") == REPLY.format(
        cards=["K", "5", "A", "2"], numbers=[13, 5, 1, 2], formula="1+1=24"
    )
    assert "'K' is worth '9'" in found.prompt.render(DEAL.under(Rule(5, 7, 9)))


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        ("13 + 5", "Not yet: odd sign {."),
        ("10*2+5-1", "Not yet: foreign [10], missing [13]."),
        ("13+5*2+1+1+5", "Not yet: many [5, 1] times."),
        ("(13)5*2+1)", "Not yet: after n, unopened."),
        ("13(+5*2+1", "Not yet: before b, after o."),
        ("()13*5*2+1", "Not yet: after b, after n."),
        ("13+5*2*1", "Not yet: 13+5*2 is fine, the rest is off."),
        ("2/13+5+1", "Not yet: 2 is fine, the rest is off."),
    ],
)
def test_the_verifier_speaks_in_the_clones_words(clone, formula, told):
    found = imported(clone)
    assert found.verify(DEAL, f'"formula": "{formula}"').message == told


def test_nothing_in_the_clone_is_run(clone):
    imported(clone)
    assert not (clone.parent / "ran").exists()


def test_it_says_which_wording_is_known(clone, monkeypatch, capsys):
    found = reference.read_reference(clone)
    monkeypatch.setattr(reference, "KNOWN", {part.name: part.digest for part in found.parts})
    assert reference.read_reference(clone).protocol.name == "paper-original"
    path = clone / reference.PROMPTS
    path.write_text(path.read_text().replace("Careful", "Mind"))
    assert imported(clone).name == "paper-imported"
    said = capsys.readouterr()
    known = {line.partition("sha256")[0].strip(): " known " in line for line in said.out.splitlines()[:4]}
    assert known == {"Q_GeneralPoint_EQN_L": False, "ResponseEqn": True, "face cards": True, "feedback": True}
    assert "not the wording that we know: Q_GeneralPoint_EQN_L" in said.err


def test_the_settings_are_the_papers(clone):
    ours, found = read_protocol("paper"), imported(clone)
    words = ("message", "findings", "prompt_source", "reply_source")
    assert replace(found, **{name: getattr(ours, name) for name in words}).digest == ours.digest
    assert found.rewards == ours.rewards


@pytest.mark.parametrize(
    ("file", "old", "new", "why"),
    [
        (reference.PROMPTS, None, None, "no such file; expected a clone of the paper's repository"),
        (reference.VERIFIER, None, None, "no such file"),
        (reference.PROMPTS, "Q_GeneralPoint_EQN_L", "Q_L", "expected Q_GeneralPoint_EQN_L = a text, found none"),
        (reference.PROMPTS, "{cards} {{", "{{", "expected the fields target_number, cards, face_card_msg; found"),
        (reference.PROMPTS, "{cards} {{", "{cards} {deck} {{", "found target_number, face_card_msg, cards, deck"),
        (reference.PROMPTS, "import os", "import", "cannot be read as Python"),
        (reference.VERIFIER, '"almost"', 'almost', "expected a text, found almost"),
        (reference.VERIFIER, '["PARTIAL_SOLUTION"]', '["NO_SOLUTION"]', "step_rewards: expected phrases"),
    ],
)  # fmt: skip
def test_a_clone_of_another_shape_is_refused_in_one_line_and_leaves_nothing(clone, file, old, new, why):
    path = clone / file
    path.unlink() if old is None else path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError) as error:
        run("import", clone, "-o", clone.parent / "out")
    assert why in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in clone.parent.iterdir()) == ["clone"]


def test_what_a_clone_does_not_word_stays_ours_and_is_said(clone, capsys):
    (clone / reference.FACE_CARDS).unlink()
    (clone / reference.FRAME).unlink()
    found = imported(clone)
    assert "'K' is worth '13'" in found.prompt.render(DEAL)
    assert (found.verify(DEAL, "?").message or "").startswith("That try did not succeed: odd sign {")
    assert capsys.readouterr().out.count("ours") == 2


def test_protocols_are_listed_and_shown(capsys):
    assert run("list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "numbers",
        "paper",
        "points24",
    ]
    assert run("show", "paper") == 0
    shown = capsys.readouterr().out
    assert read_protocol("paper").prompt.render(DEAL) in shown
    assert "verifier: paper" in shown
    with pytest.raises(InputError, match="protocol: expected numbers or paper or points24"):
        run("show", str(Path("none")))
