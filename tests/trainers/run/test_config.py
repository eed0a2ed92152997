"""What a run's settings say to training and to scoring."""

import pytest

from points24.tasks.cards import RULES, Deal
from points24.trainers.deals import completion_row, prompt_row
from points24.trainers.run.config import RunConfig

DEAL = Deal(("K", "5", "A", "2"), RULES["id"])


def test_the_default_protocol_asks_what_the_tasks_ask_and_tells_scoring_nothing():
    config = RunConfig()
    assert config.score_metadata == {}
    assert "write one formula" in config.wording.render(DEAL)


def test_a_protocol_sets_prompt_reply_and_scoring():
    config = RunConfig(protocol="paper")
    assert config.score_metadata == {"protocol": "paper"}
    assert "[Cards]" in prompt_row(DEAL, config.wording, chat=False)["prompt"]
    reply = completion_row(DEAL, "10*2+5-1", config.asked, chat=False)["completion"]
    assert reply.splitlines() == [
        "{", "  \"cards\": ['K', '5', 'A', '2'],", '  "number": [10, 5, 1, 2],', '  "formula": "10*2+5-1=24",', "}",
    ]  # fmt: skip


@pytest.mark.parametrize("protocol", ["points24", "paper"])
def test_a_template_replaces_the_prompt_alone(tmp_path, protocol):
    template = tmp_path / "mine.jinja"
    template.write_text("{{ cards }} {{ rule }}")
    config = RunConfig(protocol=protocol, template=str(template))
    assert config.wording.render(DEAL) == "['K', '5', 'A', '2'] id"
    assert config.score_metadata["template"] == str(template)
    assert config.asked.reply(DEAL, "1+1") == RunConfig(protocol=protocol).asked.reply(DEAL, "1+1")
