"""The canary's judgement, on figures made by hand."""

import math

import pytest
from lm_eval.api.model import LM

from points24.harness.evaluation.engines import canary
from points24.harness.evaluation.engines.engine import EngineError

LENGTHS = [len(reply) for _, reply in canary._pairs()]
FIGURES = [-3.0 * length for length in LENGTHS]


def off(nats_a_character: float, which: int = 0) -> list[float]:
    """The figures with one of them that far off."""
    return [
        f + nats_a_character * n * (i == which) for i, (f, n) in enumerate(zip(FIGURES, LENGTHS, strict=True))
    ]


def test_it_asks_under_both_rules():
    prompts = [prompt for prompt, _ in canary._pairs()]
    for rule in ("K counts as 10", "K counts as 13"):
        assert sum(rule in prompt for prompt in prompts) == canary.DEALS


@pytest.mark.parametrize(("dtype", "nats"), [("float32", 0.9e-4), ("bfloat16", 0.019), ("float16", 0.019)])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("which", range(len(LENGTHS)))
def test_rounding_passes(dtype, nats, sign, which):
    canary.check((off(sign * nats, which), FIGURES), None, dtype)


@pytest.mark.parametrize(("dtype", "nats"), [("float32", 1.1e-4), ("bfloat16", 0.021), ("float16", 0.021)])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("which", range(len(LENGTHS)))
def test_one_figure_beyond_rounding_is_caught(dtype, nats, sign, which):
    with pytest.raises(EngineError, match=r"log-probabilities are up to .* nats per character off"):
        canary.check((off(sign * nats, which), FIGURES), None, dtype)


@pytest.mark.parametrize("damage", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("whose", ["engine", "weights", "both"])
def test_what_is_no_number_is_caught_wherever_it_stands(damage, whose):
    for which in range(len(FIGURES)):
        damaged = [damage if i == which else figure for i, figure in enumerate(FIGURES)]
        found, expected = {
            "engine": (damaged, FIGURES), "weights": (FIGURES, damaged), "both": (damaged, damaged)
        }[whose]  # fmt: skip
        with pytest.raises(EngineError):
            canary.check((found, expected), None, "bfloat16")


def test_the_figures_of_before_under_other_weights_are_caught_even_within_the_tolerance():
    with pytest.raises(EngineError, match="the same log-probabilities as before"):
        canary.check((FIGURES, off(0.001)), (FIGURES, FIGURES), "bfloat16")


def test_the_same_weights_again_may_have_the_same_figures():
    canary.check((FIGURES, FIGURES), (FIGURES, FIGURES), "bfloat16")
    canary.check((off(0.001), off(0.002)), (FIGURES, FIGURES), "bfloat16")


class Scored(LM):
    """Gives every reply -1 nat a character."""

    def loglikelihood(self, requests, disable_tqdm=False):
        assert disable_tqdm
        return [(-1.0 * len(request.args[1]), False) for request in requests]

    def generate_until(self, requests):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError


def test_it_asks_any_model_of_lm_evals_and_is_silent(capsys):
    assert canary.log_probs(Scored()) == [-1.0 * length for length in LENGTHS]
    assert capsys.readouterr() == ("", "")
