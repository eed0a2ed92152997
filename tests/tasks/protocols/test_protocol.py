"""Protocols as data: what comes with the package, and what a folder of a user's may hold."""

import pytest
import yaml

from points24.tasks.cards import RULES, Deal, Rule
from points24.tasks.errors import InputError
from points24.tasks.lm_eval.files import task_version
from points24.tasks.prompts import BUILT_IN, json_reply, template
from points24.tasks.protocols.protocol import PROTOCOLS, read_protocol

DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])


@pytest.fixture
def folder(tmp_path):
    """A copy of the paper's protocol under another name, to be changed: call it with new settings."""

    def write(prompt=None, reply=None, **changes):
        paper = read_protocol("paper")
        settings = yaml.safe_load(paper.settings_text()) | {"name": "mine"} | changes
        (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(settings))
        (tmp_path / "prompt.jinja").write_text(prompt or paper.prompt_source)
        (tmp_path / "reply.jinja").write_text(reply or paper.reply_source or "")
        return str(tmp_path)

    return write


def test_the_protocol_points24_is_what_it_was_before_there_were_others():
    """Another digest is another protocol: it needs another version of the tasks."""
    found = read_protocol("points24")
    assert found.prompt.digest == template().digest
    assert found.prompt_source == BUILT_IN.read_text("utf-8")
    assert found.reply(DEAL, "1+1") == json_reply(DEAL, "1+1")
    pinned = "0f6217cbbebe74a62ab72bb9532680082b9be059c6de1fdc297e9cf5593c5595", "1.0"
    assert (found.digest, task_version("points24_id_revise")) == pinned


def test_the_protocol_paper_is_pinned_to_the_version_of_its_tasks():
    pinned = "7316cc1d2bd4b6587c2086d88bff59ea1a132ebf6fc30b1c4781130ddce0a60b", "1.0"
    assert (read_protocol("paper").digest, task_version("points24_id_paper_revise")) == pinned


def test_the_papers_prompt_differs_in_the_face_cards_alone():
    prompt = read_protocol("paper").prompt
    ood = prompt.render(DEAL)
    for part in ("'11', '12' and '13'", "Cards: ['K', '5', 'A', '2']", '"cards"', '"number"', '"formula"'):
        assert part in ood
    assert "each worth '10'" in prompt.render(DEAL.under(RULES["id"]))
    assert "'5', '7' and '9'" in prompt.render(DEAL.under(Rule(5, 7, 9)))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_settings_survive_being_written(name, tmp_path):
    found = read_protocol(name)
    settings = yaml.safe_load(found.settings_text()) | {"name": "copy"}
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "prompt.jinja").write_text(found.prompt_source)
    if found.reply_source:
        (tmp_path / "reply.jinja").write_text(found.reply_source)
    assert read_protocol(str(tmp_path)).digest == found.digest


def test_another_phrase_is_another_digest_and_another_wording(folder):
    found = read_protocol(folder(message="No: {why}"))
    paper = read_protocol("paper")
    assert found.digest != paper.digest
    assert found.feedback_digest != paper.feedback_digest
    assert (found.verify(DEAL, "?").message or "").startswith("No: the formula has a character")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"filters": ["paper-match", "lenient"]}, "filters: unknown filter 'lenient'; allowed: strict-match, flexible-extract, paper-match"),
        ({"filters": ["strict-match"]}, "filters: expected each once, and paper-match among them"),
        ({"verifier": "judge"}, "verifier: expected verdict or paper, found 'judge'"),
        ({"verifier": "verdict"}, "findings: expected correct, wrong_rule"),
        ({"attempts": 0}, "attempts: expected at least 1, found 0"),
        ({"decoding": "beam"}, "decoding: expected 'greedy' or 'model', found 'beam'"),
        ({"checkers": ["float"]}, "checkers: expected exact among them, found float"),
        ({"message": "Because {reason}"}, "message: expected {why}, found {reason}"),
        ({"message": "Because {why"}, "message: expected '}' before end of string"),
        ({"temperature": 1}, "temperature: unknown key; allowed: name, about, verifier"),
        ({"name": "paper"}, "name: 'paper' is one of ours; choose another"),
        ({"prompt": "Play {{ cards }}."}, "prompt.jinja: a template needs 'cards' and one of J, K, Q, rule; found cards"),
        ({"prompt": "Play {{ hand }}."}, "prompt.jinja: unknown fields hand; allowed:"),
        ({"reply": "{{ cards }}"}, "reply.jinja: a reply needs 'formula'; found cards"),
    ],
)  # fmt: skip
def test_what_a_folder_may_not_hold_is_said_in_one_line(folder, changes, why):
    with pytest.raises(InputError) as error:
        read_protocol(folder(**changes))
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_protocol_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"protocol: expected numbers or paper or points24, or a folder with"
    ):
        read_protocol(str(tmp_path / "none"))
