import math
from dataclasses import replace

import pytest
import torch

from points24.harness.shift.beliefs import beliefs, material
from points24.harness.shift.passes import Base, run
from points24.harness.shift.references import asked
from points24.tasks.cards import RULES
from points24.tasks.errors import InputError
from points24.tasks.prompts import template
from tests.harness.shift.models import TOKENIZER, Scripted, tiny


def texts_of(task: str = "points24_ood", limit: int = 7):
    what = asked(task, wording=template(), chat=False, limit=limit, memorised=RULES["id"])
    return material(what, TOKENIZER)


def direct(model, sequence):
    """(log-probabilities, tokens, last prompt token's states) of one sequence alone, in double precision."""
    ids = torch.tensor([sequence.ids])
    with torch.no_grad():
        out = model.double()(ids, output_hidden_states=True)
    model.float()
    states = [layer[0, sequence.start - 1] for layer in out.hidden_states[1:]]
    rows = out.logits[0, sequence.start - 1 : -1].log_softmax(1)
    return rows, ids[0, sequence.start :], states


def test_every_quantity_equals_a_direct_computation():
    model, base = tiny(1), tiny(2)
    sequences = texts_of().right
    model.double()
    base.double()
    found = run(model, sequences, batch_size=3, base=Base(base))
    for place, each in enumerate(sequences):
        (q, tokens, states), (p, _, base_states) = direct(model, each), direct(base, each)
        picked = q[torch.arange(len(tokens)), tokens]
        inside = torch.tensor([i - each.start for i in each.numbers])
        expected = {
            "nll": -picked.sum(),
            "nll_numbers": -picked[inside].sum(),
            "entropy": -(q.exp() * q).sum(),
            "kl": (p.exp() * (p - q)).sum(),
            "reverse_kl": (q.exp() * (q - p)).sum(),
        }
        model.double()
        base.double()
        for name, value in expected.items():
            assert found.sums[name][place].item() == pytest.approx(value.item(), rel=1e-12), name
        for layer in range(2):
            torch.testing.assert_close(found.states[layer][place], states[layer], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(
                found.base_states[layer][place], base_states[layer], rtol=1e-12, atol=1e-12
            )


def test_batch_size_and_padding_change_nothing():
    model, base = tiny(1), tiny(2)
    own = texts_of(limit=9)
    texts = own.with_samples([[5] * (1 + 7 * (i % 4)) for i in range(9)])  # of very different lengths
    one, all_at_once = (beliefs(model, texts, batch_size=n, base=Base(base)) for n in (1, 64))
    assert one.values.keys() == all_at_once.values.keys()
    for name, values in one.values.items():
        assert values.numpy() == pytest.approx(all_at_once.values[name].numpy(), abs=1e-5), name
    for ours, theirs in zip(one.states, all_at_once.states, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_the_base_against_itself_is_exactly_0():
    base = Base(tiny(2))
    found = run(base.model, texts_of().right, batch_size=4, base=base)
    assert (found.sums["kl"] == 0).all()
    assert (found.sums["reverse_kl"] == 0).all()
    assert found.mean("overlap").tolist() == [1] * 7


def test_logits_of_the_base_are_kept_up_to_a_size_and_otherwise_computed_again():
    model, sequences = tiny(1), texts_of().right
    kept, not_kept = (Base(tiny(2), room) for room in (2**30, 0))
    runs = 0

    def count(*_):
        nonlocal runs
        runs += 1

    for base, expected in ((kept, 2), (not_kept, 4)):
        runs = 0
        base.model.register_forward_hook(count)
        first, second = (run(model, sequences, batch_size=4, base=base) for _ in range(2))
        assert runs == expected
        assert torch.equal(first.sums["kl"], second.sums["kl"])


def test_the_rule_preference_of_a_model_that_knows_one_rule_alone():
    texts = texts_of(limit=5)
    sure, size = 0.9, len(TOKENIZER)
    model = Scripted([each.ids for each in texts.rival], size, sure)
    found = beliefs(model, texts, batch_size=2)
    for i, place in enumerate(texts.with_rival):
        right, rival = texts.right[place], texts.rival[i]
        shared = next(k for k, (a, b) in enumerate(zip(right.ids, rival.ids, strict=False)) if a != b)
        length, other = len(rival.ids) - rival.start, len(right.ids) - shared - 1
        for_rival = length * math.log(sure)
        # The right reply follows the script up to its first number of a face card, then it is on its own.
        for_right = (shared - right.start) * math.log(sure)
        for_right += math.log((1 - sure) / (size - 1)) - other * math.log(size)
        assert found.values["preference"][i].item() == pytest.approx(for_right - for_rival, rel=1e-6)
        before = sum(number < shared for number in right.numbers)
        numbers = math.log((1 - sure) / (size - 1)) - (3 - before) * math.log(size)
        numbers += (before - 4) * math.log(sure)
        assert found.values["preference_numbers"][i].item() == pytest.approx(numbers, rel=1e-6)
    estimates = found.estimates()
    assert estimates["rival_preferred"].mean == 1
    assert estimates["calibration_error"].mean == pytest.approx(1)
    assert estimates["rival_preferred"].n == len(texts.with_rival) < estimates["nll"].n == 5


def test_deals_without_a_rival_reply_are_named_once_and_left_out_of_the_preference_alone():
    what = asked("points24_ood", wording=template(), chat=False, limit=20, memorised=RULES["id"])
    notes: list[str] = []
    texts = material(what, TOKENIZER, notes.append)
    missing = 20 - len(texts.with_rival)
    assert missing > 0
    assert len(texts.right) == 20
    assert len(notes) == 1
    assert notes[0].startswith(f"points24_ood: {missing} of 20 deals have no right reply under rule id (")
    unsolvable = replace(what.deals[0], cards=("A", "A", "A", "A"))
    notes.clear()
    texts = material(replace(what, deals=(unsolvable, *what.deals[:2])), TOKENIZER, notes.append)
    assert len(texts.right) == 2
    assert notes[0] == "points24_ood: 1 of 3 deals have no right reply under rule ood (A A A A, …): left out"


def test_nan_is_named_by_its_deal():
    model = tiny(1)
    texts = texts_of()
    with torch.no_grad():
        model.lm_head.weight[3] = torch.nan
    with pytest.raises(InputError, match="NaN or infinite logits on deal "):
        run(model, texts.right, batch_size=4)


def test_vocabularies_of_different_sizes_are_refused():
    small = tiny(2)
    small.resize_token_embeddings(len(TOKENIZER) - 1)
    with pytest.raises(InputError, match="a vocabulary of 461 tokens; the base's has 460"):
        run(tiny(1), texts_of().right, batch_size=4, base=Base(small))
