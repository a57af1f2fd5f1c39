"""Controllers as state machines over arrays: one state per seed, all seeds in step, no Python branches.

A machine decides exactly as the Keras callback of its name when fed the same metrics. Every array has a leading axis
of seeds, shape (width,). Metrics are float32; sums with ``min_delta`` are rounded as Keras rounds them: once, from
float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from betterdl_cli.spec import Json
from betterdl_cli.tasks import higher_is_better

State = dict[str, Any]


@dataclass(frozen=True)
class Actions:
    """What a machine asks for after an epoch; shape (width,) each. ``reductions`` is None if it leaves the rate alone.

    ``stop``: end this seed's training; ``keep``: remember these weights as the ones to restore; ``reductions``: how
    often the learning rate has been reduced so far.
    """

    stop: Any
    keep: Any
    reductions: Any = None


def _improved(monitor: str, min_delta: float, current: Any, best: Any) -> Any:
    """Whether ``current`` beats ``best`` by more than ``min_delta``, in the direction of the metric."""
    if higher_is_better(monitor):
        return ops.greater(_plus(current, -min_delta), best)
    return ops.less(_plus(current, min_delta), best)


def _plus(value: Any, number: float) -> Any:
    """float32(float64(value) + number) in float32 arithmetic, by Knuth's two-sum: the sum and its error, added last."""
    value, high = ops.convert_to_tensor(value), np.float32(number)
    low = np.float32(number - float(high))
    if high == 0 and low == 0:
        return value
    total = value + high
    part = total - value
    error = (value - (total - part)) + (high - part)
    exact = total + (error + low)
    return ops.where(ops.isfinite(total), exact, total)


class EarlyStopping:
    """Keras's EarlyStopping; Prechelt 1998, "Early Stopping - But When?"."""

    def __init__(
        self, monitor: str, patience: int, min_delta: float, restore_best_weights: bool, start_from_epoch: int
    ):
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.restores, self.start = restore_best_weights, start_from_epoch

    def initial(self, width: int) -> State:
        zeros = np.zeros(width, np.int32)
        return {"best": np.zeros(width, np.float32), "has_best": zeros > 0, "wait": zeros, "kept": zeros > 0}

    def after_epoch(self, state: State, epoch: Any, metrics: Mapping[str, Any]) -> tuple[State, Actions]:
        """``epoch`` counts from 0. Returns the new state and what to do."""
        current = metrics[self.monitor]
        watching = ops.greater_equal(epoch, self.start)
        better = ops.logical_or(
            ops.logical_not(state["has_best"]), _improved(self.monitor, self.min_delta, current, state["best"])
        )
        improved = ops.logical_and(watching, better)
        wait = ops.where(improved, 0, ops.where(watching, state["wait"] + 1, state["wait"]))
        stop = ops.logical_and(
            ops.logical_and(watching, ops.logical_not(better)), ops.greater_equal(wait, self.patience)
        )
        keep = ops.logical_and(watching, ops.logical_or(better, ops.logical_not(state["kept"])))
        after = {
            "best": ops.where(improved, current, state["best"]),
            "has_best": ops.logical_or(state["has_best"], improved),
            "wait": ops.cast(wait, "int32"),
            "kept": ops.logical_or(state["kept"], keep),
        }
        return after, Actions(stop=ops.logical_and(stop, ops.greater(epoch, 0)), keep=keep)


class ReduceOnPlateau:
    """Keras's ReduceLROnPlateau. The rate itself follows from the number of reductions: :meth:`rates`."""

    restores = False

    def __init__(self, monitor: str, factor: float, patience: int, min_delta: float, cooldown: int, min_lr: float):
        self.monitor, self.factor, self.patience = monitor, factor, patience
        self.min_delta, self.cooldown, self.min_lr = min_delta, cooldown, min_lr

    def rates(self, initial: float) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The learning rate after 0, 1, 2 … reductions until it stays; computed as Keras does, in float64."""
        rates = [np.float32(initial)]
        while rates[-1] > np.float32(self.min_lr) and len(rates) < 10_000:
            rates.append(np.float32(max(float(rates[-1]) * self.factor, self.min_lr)))
        return np.array(rates, np.float32)

    def initial(self, width: int) -> State:
        zeros = np.zeros(width, np.int32)
        return {
            "best": np.zeros(width, np.float32),
            "has_best": zeros > 0,
            "wait": zeros,
            "cooldown": zeros,
            "reductions": zeros,
            "most": zeros + np.iinfo(np.int32).max,
        }

    def after_epoch(self, state: State, epoch: Any, metrics: Mapping[str, Any]) -> tuple[State, Actions]:  # noqa: ARG002
        """As :meth:`EarlyStopping.after_epoch`; ``state["most"]``: how many reductions still change the rate."""
        current = metrics[self.monitor]
        cooling = ops.greater(state["cooldown"], 0)
        cooldown = ops.where(cooling, state["cooldown"] - 1, state["cooldown"])
        wait = ops.where(cooling, 0, state["wait"])
        better = ops.logical_or(
            ops.logical_not(state["has_best"]), _improved(self.monitor, self.min_delta, current, state["best"])
        )
        waiting = ops.logical_and(ops.logical_not(better), ops.less_equal(cooldown, 0))
        wait = ops.where(better, 0, ops.where(waiting, wait + 1, wait))
        reduce = ops.logical_and(waiting, ops.greater_equal(wait, self.patience))
        reduce = ops.logical_and(reduce, ops.less(state["reductions"], state["most"]))
        reductions = ops.where(reduce, state["reductions"] + 1, state["reductions"])
        after = {
            "best": ops.where(better, current, state["best"]),
            "has_best": ops.logical_or(state["has_best"], better),
            "wait": ops.cast(ops.where(reduce, 0, wait), "int32"),
            "cooldown": ops.cast(ops.where(reduce, self.cooldown, cooldown), "int32"),
            "reductions": ops.cast(reductions, "int32"),
            "most": state["most"],
        }
        never = ops.zeros_like(reduce)
        return after, Actions(stop=never, keep=never, reductions=reductions)


Machine = EarlyStopping | ReduceOnPlateau

MACHINES: dict[str, type[EarlyStopping] | type[ReduceOnPlateau]] = {
    "early_stopping": EarlyStopping,
    "reduce_on_plateau": ReduceOnPlateau,
}


def build_machines(controllers: Sequence[Mapping[str, Json]]) -> list[Machine]:
    """The machine of every controller of a spec, in order. Raises KeyError for a kind without one."""
    return [
        MACHINES[controller["kind"]](**{key: value for key, value in controller.items() if key != "kind"})
        for controller in controllers
    ]
