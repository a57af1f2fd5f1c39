from __future__ import annotations

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques.early_stopping import EarlyStopping


def test_adds_a_controller_with_all_its_parameters(mlp: ArmSpec) -> None:
    changed = EarlyStopping(patience=200, restore_best_weights=True).apply(mlp)
    assert changed.controllers == (
        {
            "kind": "early_stopping",
            "monitor": "val_loss",
            "patience": 200,
            "min_delta": 0.0,
            "restore_best_weights": True,
            "start_from_epoch": 0,
        },
    )
    assert changed.layers == mlp.layers
