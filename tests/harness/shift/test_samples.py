import torch

from points24.harness.shift.samples import Sampling, samples
from tests.harness.shift.models import TOKENIZER, tiny

PROMPTS = [[20, 30, 40], [21, 31], [22, 32, 42, 52]]


def test_samples_do_not_depend_on_the_batch_or_on_the_global_seed():
    model = tiny(3).double()
    torch.manual_seed(1)
    alone = samples(model, PROMPTS, Sampling(None, 6, batch_size=1))
    torch.manual_seed(2)
    together = samples(model, PROMPTS, Sampling(None, 6, batch_size=3))
    assert alone == together
    assert samples(model, PROMPTS, Sampling(None, 6, 3, seed=5)) != together


def test_the_first_token_is_drawn_from_the_models_distribution():
    model = tiny(3)
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.weight[7], model.lm_head.weight[9] = 0, 0
    # All tokens are equally likely: of 600 draws, none but chance comes up often.
    drawn = [reply[0] for reply in samples(model, [[20]] * 600, Sampling(None, 1, 200))]
    assert len(set(drawn)) > 300  # expected: 461 (1 − e^(−600/461)) = 336
    assert max(drawn.count(token) for token in set(drawn)) < 10


def test_a_reply_ends_with_the_stop_token():
    model = tiny(3)
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.model.norm.weight.zero_()
    stop = TOKENIZER.eos_token_id
    found = samples(model, [[20]] * 50, Sampling(stop, 300, 50))
    for reply in found:
        assert stop not in reply[:-1]
        assert len(reply) == 300 or reply[-1] == stop
    assert any(reply[-1] == stop for reply in found)


def test_the_models_own_generation_config_changes_nothing():
    model = tiny(3)
    before = samples(model, PROMPTS, Sampling(None, 6, 3))
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.temperature = 0.1
    model.generation_config.do_sample = True
    assert samples(model, PROMPTS, Sampling(None, 6, 3)) == before
