from __future__ import annotations

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques.lr_schedule import LearningRateSchedule


def test_plateau_adds_the_controller_of_keras_with_its_defaults(mlp: ArmSpec) -> None:
    changed = LearningRateSchedule(kind="plateau", patience=5).apply(mlp)
    assert changed.controllers == (
        {
            "kind": "reduce_on_plateau",
            "monitor": "val_loss",
            "factor": 0.1,
            "patience": 5,
            "min_delta": 1e-4,
            "cooldown": 0,
            "min_lr": 0.0,
        },
    )


def test_the_optimizer_is_left_alone(mlp: ArmSpec) -> None:
    assert LearningRateSchedule(kind="plateau").apply(mlp).training == mlp.training
