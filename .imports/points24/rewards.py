"""The checker as a reward; see `points24.tasks.rewards`."""

from points24.tasks.rewards import *  # noqa: F403 - the public names, in the package where people look
