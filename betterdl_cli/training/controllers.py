"""Controllers of a spec as Keras callbacks, for the engine ``fit``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from betterdl_cli.spec import Json

EpochLogs = Mapping[str, float]


def controller_callbacks(controllers: Sequence[Mapping[str, Json]]) -> list[keras.callbacks.Callback]:
    """Keras's own callback for every controller, in order."""
    classes = {
        "early_stopping": keras.callbacks.EarlyStopping,
        "reduce_on_plateau": keras.callbacks.ReduceLROnPlateau,
    }
    return [
        classes[controller["kind"]](**{key: value for key, value in controller.items() if key != "kind"})
        for controller in controllers
    ]


class StopWhenNotFinite(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a training whose loss is NaN or infinite: no update can bring it back."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras's signature
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            self.model.stop_training = True


class KeepBestWeights(keras.callbacks.Callback):  # type: ignore[misc]
    """Remembers the weights of the epoch with the lowest ``monitor``; ``epoch`` counts from 1, 0 means none."""

    def __init__(self, monitor: str) -> None:
        super().__init__()
        self.monitor = monitor
        self.epoch = 0
        self.value = math.inf
        self.weights: list[Any] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        value = (logs or {}).get(self.monitor, math.nan)
        if value < self.value:
            self.epoch, self.value, self.weights = epoch + 1, value, self.model.get_weights()


class ReportEpochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Calls ``report(epochs done)`` after every epoch."""

    def __init__(self, report: Callable[[int], None]) -> None:
        super().__init__()
        self.report = report

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras's signature
        self.report(epoch + 1)
