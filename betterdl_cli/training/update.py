"""One weight update as a pure function, for any Keras optimizer and backend.

Leans on internals of Keras 3 and is therefore small: TensorFlow's optimizer class overrides a handful of methods
for ``tf.distribute`` and with them loses ``stateless_apply``; a subclass made on the fly takes back those of the
base class. Moving averages and gradient accumulation, which Keras does by conditional side effects, are done here
by selection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops
from keras.src.optimizers.base_optimizer import BaseOptimizer
from keras.src.optimizers.optimizer import BackendOptimizer

from betterdl_cli.spec import Json
from betterdl_cli.training.build import build_optimizer

Tensors = list[Any]

TAKEN_BACK = (
    "stateless_apply",
    "assign",
    "assign_add",
    "assign_sub",
    "_var_key",
    "_apply_weight_decay",
    "_backend_update_step",
    "_backend_apply_gradients",
)


class Update:
    """The update rule of an optimizer.

    State: ``{"optimizer": its variables, "average": moving averages, "accumulated": sums of gradients}``, the last two
    empty when unused.
    """

    def __init__(self, arguments: Mapping[str, Json], model: keras.Model) -> None:
        """``arguments`` as in :class:`betterdl_cli.spec.TrainingSpec`; the optimizer is built for ``model``."""
        self.accumulation = int(arguments.get("gradient_accumulation_steps") or 1)
        self.average_momentum = float(arguments["ema_momentum"]) if arguments.get("use_ema") else None
        self.overwrite_every = arguments.get("ema_overwrite_frequency")
        plain = {**arguments, "gradient_accumulation_steps": None, "use_ema": False, "ema_overwrite_frequency": None}
        self._optimizer = _stateless(build_optimizer(plain))
        self._optimizer.build(model.trainable_variables)
        names = [variable.path for variable in self._optimizer.variables]
        self._iterations = next(i for i, name in enumerate(names) if name.endswith("iteration"))
        self.learning_rate = next((i for i, name in enumerate(names) if name.endswith("learning_rate")), -1)

    def initial(self, trainable: Tensors) -> dict[str, Tensors]:
        """The state before the first update of weights ``trainable`` (arrays without a seed axis)."""
        return {
            "optimizer": [ops.convert_to_numpy(variable.value) for variable in self._optimizer.variables],
            "average": [value * 0 for value in trainable] if self.average_momentum is not None else [],
            "accumulated": [value * 0 for value in trainable] if self.accumulation > 1 else [],
        }

    def apply(
        self, state: Mapping[str, Tensors], gradients: Tensors, trainable: Tensors
    ) -> tuple[Tensors, dict[str, Tensors]]:
        """New weights and state after one batch."""
        before, accumulated = state["optimizer"], state["accumulated"]
        batches = step = before[self._iterations]
        if self.accumulation > 1:
            step = batches // self.accumulation  # to Keras, an iteration is then that many batches
            before = [*before[: self._iterations], step, *before[self._iterations + 1 :]]
            total = [a + g for a, g in zip(accumulated, gradients, strict=True)]
            due = ops.equal((batches + 1) % self.accumulation, 0)
            updated, after = self._optimizer.stateless_apply(before, [t / self.accumulation for t in total], trainable)
            updated = [ops.where(due, new, old) for new, old in zip(updated, trainable, strict=True)]
            after = [ops.where(due, new, old) for new, old in zip(after, before, strict=True)]
            after[self._iterations] = batches + 1
            accumulated = [ops.where(due, ops.zeros_like(t), t) for t in total]
        else:
            updated, after = self._optimizer.stateless_apply(before, gradients, trainable)
        updated, average = self._averaged(step, updated, state["average"])
        return updated, {"optimizer": list(after), "average": average, "accumulated": accumulated}

    def _averaged(self, step: Any, weights: Tensors, average: Tensors) -> tuple[Tensors, Tensors]:
        """Exponential moving average of the weights after every batch, and its write-back every so many batches."""
        if self.average_momentum is None:
            return weights, average
        momentum = ops.cast(ops.not_equal(step, 0), "float32") * self.average_momentum
        average = [momentum * a + (1 - momentum) * w for a, w in zip(average, weights, strict=True)]
        if self.overwrite_every:
            due = ops.equal((step + 1) % int(self.overwrite_every), 0)
            weights = [ops.where(due, a, w) for a, w in zip(average, weights, strict=True)]
        return weights, average

    def final(self, weights: Tensors, state: Mapping[str, Tensors]) -> Tensors:
        """The weights that the finished model has: the moving averages, if there are any."""
        return state["average"] if self.average_momentum is not None else weights


def _stateless(optimizer: Any) -> Any:
    """The same optimizer with a working ``stateless_apply``.

    The plain methods stand between the optimizer's own class, whose overrides (Nadam's) stay, and the backend's.
    """
    plain = type("Plain", (BackendOptimizer,), {name: getattr(BaseOptimizer, name) for name in TAKEN_BACK})
    own = type(optimizer)
    optimizer.__class__ = type(own.__name__, (own, plain), {})
    return optimizer
