"""A model behind an OpenAI-compatible server, which loads its own weights."""

from __future__ import annotations

from typing import Any

from lm_eval.api.model import LM
from lm_eval.api.registry import get_model

from points24.harness.evaluation.engines.engine import Engine, ModelWeights, ServedWeights
from points24.tasks.errors import InputError


class Server(Engine):
    def load(self, model: ModelWeights) -> LM:
        """lm-eval's client for one of the server's own models.

        Raises:
            InputError: a model that is a folder here, or no ``base_url``.
        """
        if not isinstance(model, ServedWeights):
            raise InputError(f"{self.name}: a server holds its own models; found {model.folder}")
        if "base_url" not in self.config.model_args:
            raise InputError(f"{self.name}: base_url is missing from model_args")
        self.starts += 1
        size = 1 if self.config.batch_size == "auto" else self.config.batch_size
        model_class: Any = get_model(self.name)
        return model_class(**self.config.model_args, model=str(model.folder), batch_size=size)
