"""Whole trainings as one compiled program: loops over epochs and batches inside, all seeds of a group stacked.

Every array of the state has a leading axis of seeds, shape (width, ...). A seed that has stopped or diverged keeps its
state while the others go on; nothing of one seed is ever added to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from betterdl_cli.spec import ArmSpec
from betterdl_cli.tasks import Task
from betterdl_cli.training.backends.base import Backend
from betterdl_cli.training.build import build_metric
from betterdl_cli.training.machines import Machine, ReduceOnPlateau, build_machines
from betterdl_cli.training.stacking import convolutions_as_products
from betterdl_cli.training.update import Update

State = dict[str, Any]
Data = dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """Sizes that decide the program. ``own_table``/``own_validation``: every seed has its own inputs / rows."""

    width: int
    buffer: int
    train_rows: int
    validation_rows: int
    own_table: bool
    own_validation: bool


class Program:
    """The training of one arm for one group of seeds.

    ``data`` maps ``x`` and ``y`` to the table, shape (rows, ...) or (width, rows, ...), and ``validation`` to row
    numbers, shape (rows,) or (width, rows); without validation it is empty.
    """

    def __init__(self, spec: ArmSpec, model: keras.Model, task: Task, layout: Layout, backend: Backend) -> None:
        self.spec, self.layout, self.backend = spec, layout, backend
        self._model = model
        self._loss = keras.losses.get({"class_name": _loss_class(task.loss), "config": {}})
        self._metric = build_metric(task)
        self.update = Update(spec.training.optimizer, model)
        self.machines: list[Machine] = build_machines(spec.controllers)
        self._plateau = next((m for m in self.machines if isinstance(m, ReduceOnPlateau)), None)
        self._restores = any(machine.restores for machine in self.machines)
        self.metrics = [task.metric, "loss"]
        if layout.validation_rows:
            self.metrics += [f"val_{task.metric}", "val_loss"]
        if self._plateau is not None:
            self.metrics.append("learning_rate")
            self._rates = self._plateau.rates(float(spec.training.optimizer["learning_rate"]))
        self._run = backend.compile(self._epochs)
        self.compiled = False

    # ---- state ----

    def initial(self, trainable: list[np.ndarray], other: list[np.ndarray]) -> State:
        """The state before training from stacked weights, shape (width, ...) each."""
        width = self.layout.width
        single = self.update.initial([values[0] for values in trainable])
        update = tree.map_structure(lambda value: np.stack([np.asarray(value)] * width), single)
        machines = [machine.initial(width) for machine in self.machines]
        for machine, state in zip(self.machines, machines, strict=True):
            if isinstance(machine, ReduceOnPlateau):
                state["most"] = np.full(width, len(self._rates) - 1, np.int32)
        weights = {"trainable": list(trainable), "other": list(other)}
        state = {
            **weights,
            "update": update,
            "machines": machines,
            "alive": np.ones(width, bool),
            "epochs": np.zeros(width, np.int32),
        }
        if self.layout.validation_rows:
            state["best"] = {
                "value": np.full(width, np.inf, np.float32),
                "epoch": np.zeros(width, np.int32),
                **tree.map_structure(np.copy, weights),
            }
        if self._restores:
            state["kept"] = tree.map_structure(np.copy, weights)
        return state

    def final_weights(self, state: State) -> tuple[list[Any], list[Any]]:
        """Weights of the finished models: restored where a controller does that, averaged where the optimizer does."""
        if self._restores:
            kept = next(s["kept"] for m, s in zip(self.machines, state["machines"], strict=True) if m.restores)
            last = {"trainable": self.update.final(state["trainable"], state["update"]), "other": state["other"]}
            chosen = _select(kept, state["kept"], last)
            return chosen["trainable"], chosen["other"]
        return self.update.final(state["trainable"], state["update"]), state["other"]

    # ---- training ----

    def run(self, state: State, data: Data, orders: np.ndarray, epochs: int) -> tuple[State, np.ndarray]:
        """Train at most ``epochs`` more epochs; fewer when every seed has stopped.

        :param orders: table rows in the order of each epoch, int32, shape (buffer, width, train_rows)
        :returns: the state, and metrics of each epoch, shape (buffer, len(metrics), width)
        """
        with convolutions_as_products():
            state, history = self._run(state, data, orders, np.int32(epochs))
        self.compiled = True
        return tree.map_structure(np.asarray, state), np.asarray(history)

    def _epochs(self, state: State, data: Data, orders: Any, epochs: Any) -> tuple[State, Any]:
        history = ops.zeros((self.layout.buffer, len(self.metrics), self.layout.width), "float32")
        flat = tree.flatten(state)

        def go_on(epoch: Any, history: Any, *flat: Any) -> Any:  # noqa: ARG001
            alive = tree.pack_sequence_as(state, list(flat))["alive"]
            return ops.logical_and(ops.less(epoch, epochs), ops.any(alive))

        def one(epoch: Any, history: Any, *flat: Any) -> tuple[Any, ...]:
            before = tree.pack_sequence_as(state, list(flat))
            after, metrics = self._epoch(before, data, ops.take(orders, epoch, axis=0))
            row = ops.stack([metrics[name] for name in self.metrics])
            history = ops.slice_update(history, (epoch, 0, 0), row[None])
            return (epoch + 1, history, *tree.flatten(after))

        _, history, *flat = ops.while_loop(go_on, one, (ops.convert_to_tensor(0, "int32"), history, *flat))
        return tree.pack_sequence_as(state, list(flat)), history

    def _epoch(self, state: State, data: Data, order: Any) -> tuple[State, dict[str, Any]]:
        alive = state["alive"]
        trained, metrics = self._train(state, data, order)
        trained = _select(alive, trained, {key: state[key] for key in trained})
        if self.layout.validation_rows:
            metrics |= self._validate(trained, data)
        after = {**state, **trained}
        after["machines"], stop, keep = self._control(state, after, metrics)
        weights = {"trainable": after["trainable"], "other": after["other"]}
        after["epochs"] = ops.where(alive, state["epochs"] + 1, state["epochs"])
        if self.layout.validation_rows:
            better = ops.logical_and(alive, ops.less(metrics["val_loss"], state["best"]["value"]))
            new = {"value": metrics["val_loss"], "epoch": after["epochs"], **weights}
            after["best"] = _select(better, new, state["best"])
        if self._restores:
            after["kept"] = _select(ops.logical_and(alive, keep), weights, state["kept"])
        finite = ops.isfinite(metrics["loss"])
        after["alive"] = ops.logical_and(ops.logical_and(alive, finite), ops.logical_not(stop))
        return after, metrics

    def _control(self, before: State, after: State, metrics: dict[str, Any]) -> tuple[list[State], Any, Any]:
        """Let every machine act; writes reduced learning rates into ``after``. Returns states, stop, keep."""
        stop = keep = ops.zeros_like(before["alive"])
        states = []
        if self._plateau is not None:
            metrics["learning_rate"] = after["update"]["optimizer"][self.update.learning_rate]
        for machine, state in zip(self.machines, before["machines"], strict=True):
            new, actions = machine.after_epoch(state, before["epochs"], metrics)
            states.append(_select(before["alive"], new, state))
            stop, keep = ops.logical_or(stop, actions.stop), ops.logical_or(keep, actions.keep)
            if actions.reductions is not None:
                reduced = list(after["update"]["optimizer"])
                reduced[self.update.learning_rate] = ops.take(
                    ops.convert_to_tensor(self._rates), states[-1]["reductions"]
                )
                after["update"] = {**after["update"], "optimizer": reduced}
        return states, stop, keep

    # ---- one epoch of batches ----

    def _train(self, state: State, data: Data, order: Any) -> tuple[State, dict[str, Any]]:
        """All batches of an epoch in order; the last one may be smaller and is then a step of its own shape."""
        width, rows = self.layout.width, self.layout.train_rows
        size = min(self.spec.training.batch_size, rows)
        carried = {key: state[key] for key in ("trainable", "other", "update")}
        carried["loss"] = ops.zeros((width,), "float32")
        carried["metric"] = self._no_metric()

        def batch(start: Any, count: int, carried: State) -> State:
            chosen = ops.slice(order, (0, start), (width, count))
            return self._map(self._step, carried, data, {"rows": chosen})

        carried = self._batches(batch, rows, size, carried)
        metrics = self._result(carried, rows)
        return {key: carried[key] for key in ("trainable", "other", "update")}, metrics

    def _step(self, carried: State, x: Any, y: Any, rows: Any) -> State:
        inputs, targets = ops.take(x, rows, axis=0), ops.take(y, rows, axis=0)

        def forward(trainable: list[Any]) -> tuple[Any, Any]:
            outputs, other, penalties = self._model.stateless_call(
                trainable, carried["other"], inputs, training=True, return_losses=True
            )
            loss = self._loss(targets, outputs)
            for penalty in penalties:
                loss = loss + penalty
            return loss, (outputs, other)

        loss, (outputs, other), gradients = self.backend.value_and_gradient(forward, carried["trainable"])
        trainable, update = self.update.apply(carried["update"], gradients, carried["trainable"])
        return {
            "trainable": list(trainable),
            "other": list(other),
            "update": update,
            "loss": carried["loss"] + loss * rows.shape[0],
            "metric": list(self._metric.stateless_update_state(carried["metric"], targets, outputs)),
        }

    def _validate(self, state: State, data: Data) -> dict[str, Any]:
        rows = self.layout.validation_rows
        size = min(self.spec.training.validation_batch_size, rows)
        weights = {key: state[key] for key in ("trainable", "other")}
        sums = {"loss": ops.zeros((self.layout.width,), "float32"), "metric": self._no_metric()}

        def batch(start: Any, count: int, sums: State) -> State:
            mapped, shared = {}, data["validation"]
            if self.layout.own_validation:
                mapped["rows"] = ops.slice(shared, (0, start), (self.layout.width, count))
            else:
                shared = ops.slice(shared, (start,), (count,))

            def check(carried: State, x: Any, y: Any, rows: Any = None) -> State:
                rows = shared if rows is None else rows
                inputs, targets = ops.take(x, rows, axis=0), ops.take(y, rows, axis=0)
                outputs, _, penalties = self._model.stateless_call(
                    carried["trainable"], carried["other"], inputs, training=False, return_losses=True
                )
                loss = self._loss(targets, outputs)
                for penalty in penalties:
                    loss = loss + penalty
                metric = self._metric.stateless_update_state(carried["metric"], targets, outputs)
                return {"loss": carried["loss"] + loss * count, "metric": list(metric)}

            return self._map(check, {**weights, **sums}, data, mapped)

        sums = self._batches(batch, rows, size, sums)
        return {f"val_{name}": value for name, value in self._result(sums, rows).items()}

    def _batches(self, batch: Any, rows: int, size: int, carried: State) -> State:
        """``batch(start, count, carried)`` over all rows; whole batches in a loop, the rest once."""
        whole = rows // size
        if whole == 1:
            carried = batch(0, size, carried)
        else:
            flat = tree.flatten(carried)

            def one(index: Any, *flat: Any) -> tuple[Any, ...]:
                after = batch(index * size, size, tree.pack_sequence_as(carried, list(flat)))
                return (index + 1, *tree.flatten(after))

            _, *flat = ops.while_loop(
                lambda index, *_: ops.less(index, whole), one, (ops.convert_to_tensor(0, "int32"), *flat)
            )
            carried = tree.pack_sequence_as(carried, list(flat))
        return batch(whole * size, rows - whole * size, carried) if rows % size else carried

    def _map(self, function: Any, carried: State, data: Data, mapped: Mapping[str, Any]) -> State:
        """``function(carried, x, y, **mapped)`` for every seed; a table shared by all seeds is not stacked."""
        elements = {"carried": carried, "mapped": dict(mapped)}
        table = {"x": data["x"], "y": data["y"]}
        if self.layout.own_table:
            elements["table"] = table

        def one(element: State) -> State:
            own = element.get("table", table)
            result: State = function(element["carried"], own["x"], own["y"], **element["mapped"])
            return result

        result: State = ops.vectorized_map(one, elements)
        return result

    def _no_metric(self) -> list[Any]:
        return [ops.zeros((self.layout.width, *variable.shape), variable.dtype) for variable in self._metric.variables]

    def _result(self, sums: State, rows: int) -> dict[str, Any]:
        metric = ops.vectorized_map(self._metric.stateless_result, sums["metric"])
        return {self._metric.name: metric, "loss": sums["loss"] / rows}


def _select(chosen: Any, new: State, old: State) -> State:
    """Per seed: ``new`` where ``chosen``, else ``old``."""

    def pick(a: Any, b: Any) -> Any:
        mask = ops.reshape(chosen, (-1,) + (1,) * (len(a.shape) - 1))
        return ops.where(mask, a, b)

    selected: State = tree.map_structure(pick, new, old)
    return selected


def _loss_class(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
