"""The exact checker as a reward, in the form that each trainer or evaluator calls it.

    from points24.rewards import trl_reward, verl_compute_score, openrlhf_reward, load_environment, using

Each adapter is thin: it finds the deal in the columns of a row, the reply in the completion, and asks
`judged`. ``points24 deals NAME --format trl`` (or verl, openrlhf) writes the rows. The adapter for Inspect
is the module `points24.tasks.rewards.for_inspect`, which needs ``inspect_ai``. Nothing here imports torch or
lm-eval before a trainer's own library does.
"""

from points24.tasks.rewards.for_openrlhf import openrlhf_reward
from points24.tasks.rewards.for_trl import trl_reward
from points24.tasks.rewards.for_verifiers import load_environment
from points24.tasks.rewards.for_verl import verl_compute_score
from points24.tasks.rewards.reward import Earned, judged, using
from points24.tasks.rewards.tables import TABLES

__all__ = [
    "TABLES",
    "Earned",
    "judged",
    "load_environment",
    "openrlhf_reward",
    "trl_reward",
    "using",
    "verl_compute_score",
]
