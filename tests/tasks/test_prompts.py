import json

import pytest

from points24.tasks.cards import RULES, Deal, Rule
from points24.tasks.errors import InputError
from points24.tasks.prompts import Template, json_reply, template
from points24.tasks.verdict import Verdict, judge_reply

DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])


def test_the_built_in_prompt_states_rule_goal_cards_and_reply_format():
    prompt = template().render(DEAL)
    for part in ("J counts as 11", "Q counts as 12", "K counts as 13", "equals 24", "K, 5, A, 2"):
        assert part in prompt
    for key in ("cards", "number", "formula"):
        assert f'"{key}"' in prompt


def test_the_two_rules_differ_in_the_face_cards_alone():
    id_prompt = template().render(DEAL.under(RULES["id"]))
    assert template().render(DEAL).replace("11", "10").replace("12", "10").replace("13", "10") == id_prompt


def test_another_target_and_rule_are_stated():
    prompt = template().render(Deal(DEAL.cards, Rule(5, 7, 9), 36))
    assert "equals 36" in prompt
    assert "24" not in prompt
    assert "Q counts as 7" in prompt


def test_the_reply_that_is_asked_for_is_judged_correct():
    reply = json_reply(DEAL, "13+5*2+1")
    assert json.loads(reply) == {
        "cards": ["K", "5", "A", "2"],
        "number": [13, 5, 1, 2],
        "formula": "13+5*2+1",
    }
    assert judge_reply(DEAL, reply).verdict is Verdict.CORRECT


def test_the_built_in_wording_is_pinned():
    """A change here is another task: raise the version in the YAML files, and train nano-base again."""
    assert template().digest.startswith("b8ce118add59")


def test_a_users_template_sees_every_field(tmp_path):
    file = tmp_path / "mine.jinja"
    file.write_text("{{ cards }} {{ numbers }} {{ J }}/{{ Q }}/{{ K }} {{ rule }} {{ target }} {{ count }}\n")
    assert template(str(file)).render(DEAL) == "['K', '5', 'A', '2'] [13, 5, 1, 2] 11/12/13 ood 24 four"


def test_the_digest_follows_the_wording():
    a, b = Template("{{ cards }}{{ rule }}"), Template("{{ cards }} {{ rule }}")
    assert a.digest != b.digest
    assert a.digest == Template("{{ cards }}{{ rule }}").digest


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no fields", "needs 'cards' and one of J, K, Q, rule; found no field"),
        ("{{ cards }}", "needs 'cards' and one of J, K, Q, rule; found cards"),
        ("{{ rule }}", "needs 'cards' and one of J, K, Q, rule; found rule"),
        (
            "{{ cards }} {{ rule }} {{ answer }}",
            "unknown fields answer; allowed: J, K, Q, cards, count, numbers, rule, target",
        ),
        ("{{ cards ", "not a Jinja template"),
        ("{{ cards }} {{ rule }} {{ cards.__class__.__mro__ }}", "cannot render a deal"),
        ("{{ cards }} {{ rule }} {{ 1 / 0 }}", "cannot render a deal"),
    ],
)
def test_a_bad_template_is_refused_in_one_line(source, message):
    with pytest.raises(InputError) as error:
        Template(source)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_binary_template_file_is_refused(tmp_path):
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe{{ cards }}")
    for path in (tmp_path / "absent", binary, tmp_path):
        with pytest.raises(InputError, match="cannot be read as UTF-8 text"):
            template(str(path))
