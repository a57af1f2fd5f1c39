"""Engine ``vectorized``: all seeds of a group in one compiled program, in chunks of about a second.

A group has a fixed width whatever the number of seeds: a seed's last bits depend on the width, so it may depend on the
recipe only. The last group is padded with copies of its first seed, whose results are thrown away.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import tree
from numpy.typing import NDArray

from betterdl_cli.history import History
from betterdl_cli.seeds import epoch_order, in_stream
from betterdl_cli.spec import ArmSpec, Json, canonical_digest
from betterdl_cli.training.backends.base import Backend
from betterdl_cli.training.build import build_model
from betterdl_cli.training.checkpoint import Checkpoint, Progress
from betterdl_cli.training.data import Parts, load_parts, load_table, targets_of
from betterdl_cli.training.outcome import FINGERPRINTED_EPOCHS, Ending, Trained, Untrained, conclude
from betterdl_cli.training.program import Data, Layout, Program, State
from betterdl_cli.training.update import Update

CHUNK_SECONDS = 1.0
BUFFER_EPOCHS = 250  # at most this many epochs per call
BUFFER_NUMBERS = 4_000_000  # at most this many row numbers per call
MOST_PROGRAMS = 32  # kept compiled; the least recently used one goes
FIXED_BYTES = 400_000_000  # what tracing and compiling take


@dataclass(frozen=True)
class _Seed:
    """What is known of one seed before training."""

    parts: Parts
    before: Untrained


class Group:
    """The training of one arm for a group of seeds."""

    def __init__(self, arm: str, spec: ArmSpec, seeds: Sequence[int], width: int, programs: Programs) -> None:
        """Build models and data; nothing is compiled yet. Raises what Keras and the data raise."""
        self.arm, self.spec, self.seeds, self.width = arm, spec, tuple(seeds), width
        padded = (*seeds, *([seeds[0]] * (width - len(seeds))))
        self._streams = [in_stream(seed, spec.seed_stream) for seed in padded]
        keras.utils.clear_session(free_memory=False)
        models = []
        self._known: list[_Seed] = []
        for seed in padded:
            parts = self._known[0].parts if self._known and not spec.data.split.resplit else load_parts(spec.data, seed)
            model = build_model(
                spec, in_stream(seed, spec.seed_stream), parts.train.x.shape[1:], parts.task, parts.classes
            )
            self._known.append(_Seed(parts, Untrained.of(model, parts, spec)))
            models.append(model)
        self._model = models[0]
        first = self._known[0].parts
        self._data, self._train_rows, layout = _arrays([known.parts for known in self._known], spec, width)
        self.program = programs.program(spec, self._model, first, layout)
        self._initial = self.program.initial(
            [_stacked(models, "trainable_variables", i) for i in range(len(self._model.trainable_variables))],
            [_stacked(models, "non_trainable_variables", i) for i in range(len(self._model.non_trainable_variables))],
        )

    def compile(self) -> float:
        """Compile the program without training; seconds it took. Raises what the compiler raises."""
        started = time.perf_counter()
        self.program.run(self._initial, self._data, self._orders(0, 0), 0)
        return time.perf_counter() - started

    def train(
        self,
        environment: dict[str, Any],
        report: Callable[[int], None],
        checkpoint: Checkpoint | None = None,
        *,
        chunk_seconds: float = CHUNK_SECONDS,
    ) -> Iterator[Trained]:
        """Train to the end, going on from ``checkpoint`` where it has a state; then one result per seed.

        After every chunk of about ``chunk_seconds``, ``report`` hears the number of epochs done. Chunks change no bit.
        """
        if not self.program.compiled:
            self.compile()
        started = time.perf_counter()
        progress = checkpoint.load(self._initial) if checkpoint else None
        state, done, history, spent = self._initial, 0, [], 0.0
        if progress is not None:
            state, done, history, spent = progress.state, progress.epochs, [progress.history], progress.seconds
        count = 1
        while done < self.spec.training.epochs and np.any(state["alive"]):
            count = min(count, self.program.layout.buffer, self.spec.training.epochs - done)
            chunk_started = time.perf_counter()
            state, rows = self.program.run(state, self._data, self._orders(done, count), count)
            count_done = count if np.any(state["alive"]) else int(state["epochs"].max()) - done
            history.append(rows[:count_done])
            done += count_done
            elapsed = time.perf_counter() - chunk_started
            if checkpoint is not None and done < self.spec.training.epochs:
                spent_now = spent + time.perf_counter() - started
                checkpoint.save(lambda: Progress(state, done, np.concatenate(history), spent_now))  # noqa: B023
            report(done)
            count = max(1, min(4 * count, int(count * chunk_seconds / max(elapsed, 1e-6))))
        seconds = (spent + time.perf_counter() - started) / len(self.seeds)
        yield from self._results(state, np.concatenate(history), environment, seconds)

    def _orders(self, start: int, count: int) -> NDArray[np.int32]:
        """Table rows of the next epochs, shape (buffer, width, train rows)."""
        layout = self.program.layout
        orders = np.zeros((layout.buffer, layout.width, layout.train_rows), np.int32)
        for column, seed in enumerate(self._streams):
            if column >= len(self.seeds):
                orders[:count, column] = orders[:count, 0]
                continue
            for epoch in range(count):
                order = epoch_order(seed, start + epoch, layout.train_rows)
                orders[epoch, column] = self._train_rows[column][order]
        return orders

    # ---- results ----

    def _results(
        self, state: State, history: NDArray[np.float32], environment: dict[str, Any], seconds: float
    ) -> Iterator[Trained]:
        trainable, other = self.program.final_weights(state)
        best = state.get("best", {"epoch": np.zeros(self.width, np.int32)})
        for column, seed in enumerate(self.seeds):
            known = self._known[column]
            epochs = int(state["epochs"][column])
            metrics = {
                name: history[:epochs, row, column].astype(np.float64) for row, name in enumerate(self.program.metrics)
            }
            own = History(metrics)
            self._load(trainable, other, column)
            ending = Ending(
                history=own,
                orders=self._order_digests(column, epochs),
                seconds=seconds,
                best_epoch=int(best["epoch"][column]),
                load_best=lambda: self._load(best["trainable"], best["other"], column),  # noqa: B023 - called at once
            )
            yield conclude(self.arm, self.spec, seed, self._model, known.parts, known.before, ending, environment)

    def _order_digests(self, column: int, epochs: int) -> tuple[str, ...]:
        rows = self.program.layout.train_rows
        orders = (epoch_order(self._streams[column], epoch, rows) for epoch in range(min(epochs, FINGERPRINTED_EPOCHS)))
        return tuple(hashlib.sha256(order.astype("<i4").tobytes()).hexdigest()[:16] for order in orders)

    def _load(self, trainable: list[Any], other: list[Any], column: int) -> None:
        for variables, values in (
            (self._model.trainable_variables, trainable),
            (self._model.non_trainable_variables, other),
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(np.asarray(value)[column])


class Programs:
    """The compiled programs of a process, shared by groups and arms with the same graph."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._programs: dict[str, Program] = {}  # the newest last
        self._structures: set[str] = set()
        self._prepared: dict[tuple[str, tuple[int, ...], int], Group] = {}

    def prepare(self, arm: str, spec: ArmSpec, seeds: tuple[int, ...], width: int, memory: float = math.inf) -> int:
        """Make sure that a group can be trained within so many bytes of memory; the seeds at once, at most ``width``.

        The program is compiled, unless one of the same structure (the same but for numbers) was. Raises
        :class:`NoMemoryError`, and what Keras, the data and the compiler raise.
        """
        while (needed := bytes_needed(spec, seeds[0], width)) > memory:
            if width == 1:
                raise NoMemoryError(f"needs about {needed / 1e9:.1f} GB of memory, found {memory / 1e9:.1f} GB to use")
            width //= 2
        structure = canonical_digest(_structure(spec))
        if structure not in self._structures:
            group = Group(arm, spec, seeds[:width], width, self)
            group.compile()
            self._structures.add(structure)
            self._prepared[spec.digest, group.seeds, width] = group
        return width

    def group(self, arm: str, spec: ArmSpec, seeds: tuple[int, ...], width: int) -> Group:
        """The group to train; that of :meth:`prepare` where there is one."""
        prepared = self._prepared.pop((spec.digest, seeds, width), None)
        return prepared or Group(arm, spec, seeds, width, self)

    def program(self, spec: ArmSpec, model: keras.Model, parts: Parts, layout: Layout) -> Program:
        """The program of this graph, made from ``model`` where there is none yet."""
        plain = spec.to_json()
        training = {key: value for key, value in plain["training"].items() if key != "epochs"}
        shapes = [list(parts.train.x.shape[1:]), parts.task.name, parts.classes, asdict(layout)]
        graph = canonical_digest([plain["layers"], training, plain["controllers"], shapes])
        program = self._programs.pop(graph, None) or Program(spec, model, parts.task, layout, self._backend)
        self._programs[graph] = program
        while len(self._programs) > MOST_PROGRAMS:
            del self._programs[next(iter(self._programs))]
        return program


def _structure(spec: ArmSpec) -> Json:
    """A spec without its numbers: what decides whether the compiler takes it."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return 0 if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    whole = spec.to_json()
    names = [plain({**layer, "name": "", "block": ""}) for layer in whole["layers"]]
    return [whole["data"]["kind"], names, plain(whole["training"]), plain(whole["controllers"])]


class NoMemoryError(MemoryError):
    """Not even one seed fits."""


def bytes_needed(spec: ArmSpec, seed: int, width: int) -> int:
    """A rough upper estimate of the memory that a group takes beside the libraries.

    The factors are copies: the program's input and output and what the host holds of them, activations forward and
    backward. Measured on dense nets of up to 9 million weights and small CNNs: 0.6 to 1.0 of it was used (TensorFlow).
    """
    keras.utils.clear_session(free_memory=False)
    parts = load_parts(spec.data, seed)
    model = build_model(spec, seed, parts.train.x.shape[1:], parts.task, parts.classes)
    own_table = spec.data.split.resplit and bool(spec.data.preprocessing)
    data = sum(part.x.nbytes + part.y.nbytes for part in parts.named.values()) * (width if own_table else 1)
    weights = 4 * model.count_params()
    update = sum(
        np.asarray(value).nbytes
        for value in tree.flatten(
            Update(spec.training.optimizer, model).initial([np.asarray(v) for v in model.trainable_variables])
        )
    )
    kept = (1 if parts.validation else 0) + (1 if spec.controllers else 0)
    outputs = 4 * sum(_output_numbers(layer) for layer in model.layers)
    rows = min(spec.training.batch_size, parts.train.rows)
    checked = min(spec.training.validation_batch_size, parts.validation.rows) if parts.validation else 0
    orders = 4 * width * parts.train.rows * _buffer(spec, width, parts.train.rows)
    per_seed = 6 * (weights * (1 + kept) + update) + outputs * max(4 * rows, 2 * checked)
    return int(FIXED_BYTES + 3 * data + 2 * orders + width * per_seed)


def _output_numbers(layer: keras.layers.Layer) -> int:
    """Numbers that a layer computes per row; those of a convolution's patches included (see stacking.py)."""
    numbers = math.prod(layer.output.shape[1:])
    if isinstance(layer, keras.layers.Conv2D):
        numbers += math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape[:-1])
    return int(numbers)


def _buffer(spec: ArmSpec, width: int, rows: int) -> int:
    """Epochs per call of the program at most."""
    return min(spec.training.epochs, BUFFER_EPOCHS, max(1, BUFFER_NUMBERS // (width * rows)))


def _stacked(models: Sequence[keras.Model], kind: str, index: int) -> NDArray[Any]:
    return np.stack([np.asarray(getattr(model, kind)[index]) for model in models])


def _arrays(parts: Sequence[Parts], spec: ArmSpec, width: int) -> tuple[Data, list[NDArray[np.int32]], Layout]:
    """One table for all seeds where they share it, the training rows of each seed in it, and the sizes."""
    first = parts[0]
    rows, checks = first.train.rows, first.validation.rows if first.validation else 0
    own_rows = spec.data.split.resplit
    own_table = own_rows and bool(spec.data.preprocessing)
    data: Data
    if own_rows and not own_table:  # one copy of the data, and the row numbers of every seed
        table = load_table(spec.data)
        data = {"x": table.x, "y": targets_of(table, first.task)}
        train = [part.split.train.astype(np.int32) for part in parts]
        if checks:
            data["validation"] = np.array([part.split.validation for part in parts], np.int32)
    else:
        tables = [_own_table(part) for part in (parts if own_table else parts[:1])]
        data = {"x": np.stack([x for x, _ in tables]) if own_table else tables[0][0]}
        data["y"] = np.stack([y for _, y in tables]) if own_table else tables[0][1]
        train = [np.arange(rows, dtype=np.int32)] * width
        if checks:
            data["validation"] = np.arange(rows, rows + checks, dtype=np.int32)
    layout = Layout(width, _buffer(spec, width, rows), rows, checks, own_table, own_rows and not own_table)
    return data, train, layout


def _own_table(parts: Parts) -> tuple[NDArray[Any], NDArray[Any]]:
    """Training rows, then validation rows."""
    chosen = [parts.train, *([parts.validation] if parts.validation else [])]
    return np.concatenate([part.x for part in chosen]), np.concatenate([part.y for part in chosen])
