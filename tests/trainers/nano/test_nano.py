import json
import re
from dataclasses import asdict, replace
from itertools import islice

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.harness.config import config_file, load_config
from points24.tasks.cards import RANKS, RULES, Deal
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import development_numbers, hand_set, held_out_numbers
from points24.tasks.prompts import json_reply, template
from points24.tasks.protocols.protocol import read_protocol
from points24.tasks.verdict import Verdict, judge_reply
from points24.trainers.nano import train as nano
from points24.trainers.nano.config import NanoConfig
from points24.trainers.nano.data import IGNORED, batch, by_length, examples, plain_reply
from points24.trainers.nano.tokenizer import EOS_ID, PAD_ID, build_tokenizer, wording
from points24.trainers.nano.train import accuracy, adopt, build_model, train, training_step
from tests.tasks.oracle import is_correct

TINY = NanoConfig(
    output_dir="", hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
    max_steps=6, per_device_train_batch_size=4, warmup_steps=2, eval_steps=3, eval_deals=4, save_steps=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def loaded(name):
    folder = model_folder(name)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(
        folder
    )


@pytest.fixture(scope="module")
def base():
    return loaded("nano-base")


@pytest.fixture(scope="module")
def plain():
    return loaded("nano-plain")


# -- tokenizer -------------------------------------------------------------------------------------------


def test_the_fixed_wording_takes_few_tokens(tokenizer):
    deal = hand_set("ood").deals[0]
    prompt = template().render(deal)
    assert len(prompt) > 500
    assert len(tokenizer(prompt).input_ids) < 32
    assert len(tokenizer(json_reply(deal, "13+5*2+1")).input_ids) < 32


def test_every_number_card_operator_and_bracket_of_a_formula_is_one_token(tokenizer):
    for text in [*RANKS, *"+-*/()", *map(str, range(100))]:
        assert len(tokenizer(text).input_ids) == 1
    formula = "(13-5)*(1+2)/10"
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(formula).input_ids)
    assert tokens == re.findall(r"\d+|\W", formula)


@pytest.mark.parametrize("text", ["", "héllo — ×÷\n\t☃", "K+J=24", "  two  blanks ", "100 + 5", "<pad", "𝟙"])
def test_any_text_is_read_and_written_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_prompt_and_reply_do_not_merge(tokenizer):
    for deal in hand_set("ood").deals[:50]:
        prompt, reply = template().render(deal), json_reply(deal, "1+2")
        assert tokenizer(prompt + reply).input_ids == tokenizer(prompt).input_ids + tokenizer(reply).input_ids


def test_the_chat_template_only_closes_the_assistants_turns(tokenizer):
    chat = [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "R"},
        {"role": "user", "content": "S"},
    ]
    assert tokenizer.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True) == "Q"
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "QR</s>S"


@pytest.fixture(scope="module")
def paper():
    return read_protocol("paper")


def test_the_papers_wording_takes_few_tokens_and_five_attempts_fit(paper):
    tokenizer = build_tokenizer(paper)
    deal = hand_set("ood_paper").deals[0]
    longest = max(len(tokenizer(text).input_ids) for text in wording(paper))
    prompts = [paper.prompt.render(deal.under(rule)) for rule in RULES.values()]
    assert max(len(tokenizer(prompt).input_ids) for prompt in prompts) < 64
    reply = len(tokenizer(paper.reply(deal, "(13-5)*(1+2)")).input_ids)
    assert reply < 40
    assert longest + 5 * reply + 4 * 24 < NanoConfig("x").max_position_embeddings


def test_the_shipped_tokenizer_does_not_know_the_papers_wording(tokenizer, paper):
    """Why a base for that protocol is made: the prompt would take 500 tokens."""
    assert len(tokenizer(paper.prompt.render(hand_set("ood").deals[0])).input_ids) > 400
    assert build_tokenizer().get_vocab() == loaded("nano-base")[1].get_vocab()


def test_a_base_for_another_protocol_starts_as_the_base_it_came_from(base, paper):
    """The tokens that both know have their rows, and the layers are the same."""
    theirs, known = base
    tokenizer = build_tokenizer(paper)
    model = build_model(NanoConfig("x", protocol="paper"), tokenizer)
    adopt(model, tokenizer, "nano-base")
    ours, vocabulary = model.state_dict(), tokenizer.get_vocab()
    for name, weight in theirs.state_dict().items():
        if weight.shape == ours[name].shape:
            assert torch.equal(ours[name], weight)
    for token in ("13", "K", "*", "</s>"):
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            row = theirs.state_dict()[name][known.convert_tokens_to_ids(token)]
            assert torch.equal(ours[name][vocabulary[token]], row)


def test_a_base_of_another_shape_is_refused_in_one_line(tokenizer):
    with pytest.raises(InputError, match="model_name_or_path: nano-base: expected hidden_size 16, found 160"):
        adopt(build_model(TINY, tokenizer), tokenizer, "nano-base")


# -- data ------------------------------------------------------------------------------------------------


def test_examples_follow_from_seed_and_step():
    def first(seed, step):
        source = examples(NanoConfig("", seed=seed), step)
        return [next(source) for _ in range(5)]

    assert first(0, 7) == first(0, 7)
    assert first(0, 7) != first(0, 8)
    assert first(0, 7) != first(1, 7)


def values_in(prompt: str) -> dict[str, int]:
    """What each card counts as, read from the prompt's words."""
    stated = {rank: int(value) for rank, value in re.findall(r"([AJQK]) counts as (\d+)", prompt)}
    return stated | {rank: int(rank) for rank in RANKS if rank.isdigit()}


def test_examples_are_right_and_never_show_a_held_out_hand():
    source = examples(NanoConfig(""), 0)
    for _ in range(500):
        prompt, reply = next(source)
        numbers = json.loads(reply)["number"]
        assert is_correct(json.loads(reply)["formula"], numbers, 24), (prompt, reply)
        assert numbers == [values_in(prompt)[card] for card in json.loads(reply)["cards"]]
        assert tuple(sorted(numbers)) not in held_out_numbers()


def test_three_cards_come_as_often_as_set_and_are_asked_as_three():
    source = examples(NanoConfig("", three_share=0.25), 1)
    shown = [next(source) for _ in range(400)]
    three = [len(json.loads(reply)["cards"]) == 3 for _, reply in shown]
    assert [
        f"dealt {'three' if is_three else 'four'} cards" in prompt
        for (prompt, _), is_three in zip(shown, three, strict=True)
    ] == [True] * 400
    assert 0.18 < sum(three) / 400 < 0.32


def test_a_base_that_holds_out_faces_never_sees_what_it_is_chosen_by():
    source = examples(NanoConfig("", hold_out_faces=True, target_share=0.5), 0)
    seen = {tuple(sorted(json.loads(next(source)[1])["number"])) for _ in range(2000)}
    assert not seen & (held_out_numbers(faces=True) | development_numbers())
    assert NanoConfig("", hold_out_faces=True).eval_sets == ("id_dev", "ood_dev", "id_seen")


def test_with_working_the_number_of_cards_is_one_token():
    tokenizer = build_tokenizer(working="steps")
    for deal in (("K", "5", "A"), ("K", "5", "A", "2"), ("K", "5", "A", "2", "3")):
        tokens = tokenizer.tokenize(template("counted").render(Deal(deal, RULES["ood"])))
        assert tokens[3] == {3: "three", 4: "four", 5: "five"}[len(deal)]
        assert all(len(token) > 1 or token in (*RANKS, *"0123456789") for token in tokens)


def test_another_protocol_asks_the_same_deals_in_its_own_words(paper):
    ours, theirs = examples(NanoConfig(""), 3), examples(NanoConfig("", protocol="paper"), 3)
    for _ in range(50):
        (_, reply), (prompt, answer) = next(ours), next(theirs)
        said = json.loads(reply)
        assert f"Cards: {said['cards']}" in prompt
        assert f'"formula": "{said["formula"]}=24"' in answer


def test_a_share_of_the_examples_has_one_value_for_the_face_cards():
    def same(share):
        source = examples(NanoConfig("", same_share=share), 1)
        stated = [re.findall(r"[JQK] counts as (\d+)", next(source)[0]) for _ in range(300)]
        return sum(len(set(values)) == 1 for values in stated) / 300

    assert same(0.0) < 0.05
    assert 0.18 < same(0.25) < 0.33
    assert same(1.0) == 1


def test_the_loss_is_on_the_reply_and_its_end_alone(tokenizer):
    inputs, labels = batch(TINY, 0, tokenizer)
    source = examples(TINY, 0)
    for row, label in zip(inputs, labels, strict=True):
        prompt, reply = next(source)
        assert tokenizer.decode(row[row != PAD_ID]) == prompt + reply + "</s>"
        kept = label[label != IGNORED]
        assert kept[-1] == EOS_ID
        assert tokenizer.decode(kept) == reply + "</s>"


def test_parts_of_a_batch_by_length_give_the_same_gradient(tokenizer):
    config = replace(TINY, per_device_train_batch_size=7, working="search", bf16=False)
    tokenizer = build_tokenizer(working="search")
    tokens = batch(config, 0, tokenizer)
    parts = list(by_length(*tokens, 3))
    assert [len(rows) for rows, _ in parts] == [3, 3, 1]
    widths = [rows.shape[1] for rows, _ in parts]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1] == tokens[0].shape[1]
    losses, gradients = [], []
    for count in (1, 3):
        torch.manual_seed(0)
        model = nano.build_model(config, tokenizer)
        losses.append(training_step(model, tokens, replace(config, micro_batches=count)))
        found = [weight.grad for weight in model.parameters()]
        gradients.append(torch.cat([gradient.flatten() for gradient in found if gradient is not None]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_a_plain_reply_is_an_answer_to_flexible_extraction_alone():
    deal = Deal(("K", "5", "A", "2"), RULES["ood"])
    assert plain_reply(deal, "13+5*2+1") == "K, 5, A, 2\n13, 5, 1, 2\n13+5*2+1"
    for formula, verdict in (
        ("13+5*2+1", Verdict.CORRECT),
        ("13+5*2-1", Verdict.WRONG_VALUE),
        ("10*2+5-1", Verdict.WRONG_RULE),
        ("13+5+2+1+3", Verdict.WRONG_NUMBERS),
        ("13+5*2+1)", Verdict.ILLEGAL),
    ):
        reply = plain_reply(deal, formula)
        assert judge_reply(deal, reply, "flexible-extract").verdict is verdict
        assert judge_reply(deal, reply).verdict is Verdict.NO_ANSWER


def test_a_plain_reply_is_the_json_with_other_wording_token_by_token(tokenizer):
    for deal in hand_set("ood").deals[:50]:
        json_tokens, tokens = (tokenizer.tokenize(r(deal, "(1+2)*3")) for r in (json_reply, plain_reply))
        same = {a: b for a, b in zip(json_tokens[1:-1], tokens, strict=True) if a != b}
        assert same == {'", "': ", ", '"], "number": [': "\n", '], "formula": "': "\n"}
        prompt = template().render(deal)
        whole = tokenizer.tokenize(prompt + plain_reply(deal, "(1+2)*3"))
        assert whole == tokenizer.tokenize(prompt) + tokens


def test_the_share_of_json_changes_nothing_but_the_reply():
    for (prompt, reply), (same_prompt, plain) in islice(
        zip(examples(NanoConfig(""), 3), examples(NanoConfig("", json_share=0.0), 3), strict=True), 50
    ):
        said = json.loads(reply)
        assert prompt == same_prompt
        assert plain == f"{', '.join(said['cards'])}\n{str(said['number'])[1:-1]}\n{said['formula']}"


def test_the_share_of_json_is_that_of_the_settings():
    json_, mixed, plain = (
        [*islice(examples(NanoConfig("", json_share=share), 3), 1000)] for share in (1.0, 0.1, 0.0)
    )
    in_json = [m == j for m, j, p in zip(mixed, json_, plain, strict=True) if m in (j, p)]
    assert len(in_json) == 1000
    assert 70 < sum(in_json) < 130


# -- training --------------------------------------------------------------------------------------------


def weights(folder):
    return load_file(folder / "model.safetensors")


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_is_determined_by_its_seed(tmp_path):
    a, b, c = (
        train(replace(TINY, output_dir=str(tmp_path / name), seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert equal(weights(a), weights(b))
    assert not equal(weights(a), weights(c))


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch, stop):
    whole = train(replace(TINY, output_dir=str(tmp_path / "whole")))
    config = replace(TINY, output_dir=str(tmp_path / "resumed"))

    def interrupting(config, step, tokenizer):
        if step == stop:
            raise KeyboardInterrupt
        return batch(config, step, tokenizer)

    monkeypatch.setattr(nano, "batch", interrupting)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    resumed = train(config)
    assert equal(weights(whole), weights(resumed))
    assert [log_row(line) for line in (whole / "log.jsonl").open()] == [
        log_row(line) for line in (resumed / "log.jsonl").open()
    ]
    assert not (resumed / "training_state.pt").exists()


def log_row(line):
    row = json.loads(line)
    del row["seconds"]
    return row


@pytest.mark.parametrize(
    ("share", "extraction"), [(1.0, "strict-match"), (0.0, "flexible-extract"), (0.1, "flexible-extract")]
)
def test_the_log_judges_in_the_mode_that_reads_the_reply(tmp_path, monkeypatch, share, extraction):
    asked = []
    monkeypatch.setattr(nano, "accuracy", lambda *args: asked.append(args[3]) or 0.5)
    out = train(replace(TINY, output_dir=str(tmp_path / "m"), json_share=share))
    assert asked == 6 * [extraction]
    assert json.loads((out / "training.json").read_text())["config"]["json_share"] == share


def test_a_finished_or_foreign_folder_is_left_alone(tmp_path):
    done = train(replace(TINY, output_dir=str(tmp_path / "done")))
    before = weights(done)
    assert train(replace(TINY, output_dir=str(done))) == done
    with pytest.raises(InputError, match=r"another config: max_steps was 6, is 7; seed was 0, is 9"):
        train(replace(TINY, output_dir=str(done), seed=9, max_steps=7))
    assert equal(weights(done), before)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        train(replace(TINY, output_dir=str(tmp_path / "foreign")))
    assert [f.name for f in (tmp_path / "foreign").iterdir()] == ["thesis.tex"]


def test_the_command_line_trains_and_records_how(tmp_path, capsys):
    out = tmp_path / "m"
    own = {k: v for k, v in asdict(TINY).items() if k != "output_dir" and v is not None}
    settings = [f"{k}={v}" for k, v in own.items()]
    assert main(["train", "nano", f"output_dir={out}", *settings]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    record = json.loads((out / "training.json").read_text())
    assert record["config"]["max_steps"] == TINY.max_steps
    assert {"python", "torch", "transformers", "points24"} <= record["versions"].keys()
    assert (out / "model.safetensors").stat().st_mode & 0o777 == (out / "config.json").stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("max_steps=0", "max_steps: expected at least 1"),
        ("json_share=1.5", "json_share: expected 0 to 1, found 1.5"),
        ("same_share=-1", "same_share: expected 0 to 1, found -1"),
        (
            "protocol=odd",
            "protocol: expected numbers or paper or points24, or a folder with protocol.yaml; found 'odd'",
        ),
        ("num_attention_heads=7", "hidden_size: expected a multiple of"),
    ],
)
def test_a_bad_setting_is_refused_before_anything_is_written(tmp_path, capsys, setting, message):
    out = tmp_path / "m"
    assert main(["train", "nano", f"output_dir={out}", setting]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


# -- the shipped models ----------------------------------------------------------------------------------


def test_the_base_plays_both_rules_and_has_room_above(base):
    model, tokenizer = base
    scores = {name: accuracy(model, tokenizer, hand_set(name).deals[:200]) for name in ("id", "ood")}
    assert 0.35 < scores["id"] < 0.9
    assert 0.08 < scores["ood"] < 0.9


def test_the_plain_base_plays_both_rules_and_never_in_the_format_asked_for(plain):
    model, tokenizer = plain
    for name, least in (("id", 0.5), ("ood", 0.15)):
        assert accuracy(model, tokenizer, hand_set(name).deals[:200]) == 0
        assert least < accuracy(model, tokenizer, hand_set(name).deals[:200], "flexible-extract") < 0.9


def reply_of(loaded_model, deal, most=48):
    model, tokenizer = loaded_model
    prompt = tokenizer(template().render(deal), return_tensors="pt")
    tokens = model.generate(**prompt, max_new_tokens=most, do_sample=False)
    return tokenizer.decode(tokens[0, prompt.input_ids.shape[1] :], skip_special_tokens=True)


def test_the_bases_read_the_rule(base, plain):
    """They report what a king counts as, under rules that they are told."""
    for rule in RULES.values():
        deal = Deal(("K", "5", "A", "2"), rule)
        assert json.loads(reply_of(base, deal))["number"] == [rule.K, 5, 1, 2]
        assert reply_of(plain, deal).splitlines()[1] == f"{rule.K}, 5, 1, 2"


def test_the_base_that_searches_wins_numbers_that_no_training_shows():
    """The goals that its settings were chosen for: 45 % under the ID rule, 35 % under the OOD rule."""
    config = load_config(NanoConfig, config_file("nano-steps.yaml"), [], "nano")
    model, tokenizer = loaded("nano-steps")
    for name, goal in (("id_heldout", 0.45), ("ood_heldout", 0.35)):
        assert accuracy(model, tokenizer, hand_set(name).deals[:60], config=config) > goal


def test_the_base_that_searches_takes_back_what_loses_the_target():
    deal = Deal(("5", "3", "2", "2"), RULES["id"])
    lines = reply_of(loaded("nano-steps"), deal, 320).splitlines()
    assert lines[:8] == [
        "<think>", "5 3 2 2",
        "5 * 3 = 15 | 15 2 2", "back | 5 3 2 2",
        "5 - 3 = 2 | 2 2 2", "back | 5 3 2 2",
        "5 + 3 = 8 | 8 2 2", "back | 5 3 2 2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "config", "settings"),
    [
        ("nano-base", "nano.yaml", []),
        ("nano-plain", "nano.yaml", ["json_share=0.1", "max_steps=600"]),
        ("nano-steps", "nano-steps.yaml", []),
    ],
)
def test_a_shipped_model_is_small_and_says_how_it_was_made(name, config, settings):
    folder = model_folder(name)
    assert (folder / "model.safetensors").stat().st_size < 4_000_000
    assert {tensor.dtype for tensor in weights(folder).values()} == {torch.bfloat16}
    record = json.loads((folder / "training.json").read_text())
    wanted = load_config(NanoConfig, config_file(config), [f"output_dir={name}", *settings], "nano")
    assert NanoConfig(**{"output_dir": name} | record["config"]) == wanted
    assert record["command"].startswith(f"points24 train nano --config trainers/configs/{config}")


def test_the_shipped_tokenizers_are_the_one_that_the_code_builds(tokenizer, base):
    _, shipped = base
    assert shipped.get_vocab() == tokenizer.get_vocab()
    assert shipped.chat_template == tokenizer.chat_template
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert len({(model_folder(name) / file).read_bytes() for name in ("nano-base", "nano-plain")}) == 1
