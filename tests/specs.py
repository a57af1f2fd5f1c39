"""Small training recipes for tests, made from the catalogue without a config."""

from collections.abc import Mapping
from typing import Any

from betterdl_cli.models.base import MODELS
from betterdl_cli.optimizers import OPTIMIZERS
from betterdl_cli.spec import ArmSpec, DataSpec, SplitSpec, TrainingSpec
from betterdl_cli.techniques.base import TECHNIQUES

CIRCLES = DataSpec(
    kind="make_circles",
    parameters={"n_samples": 80, "noise": 0.1, "random_state": 1},
    split=SplitSpec(train=33, validation=20, test=20),
)
DIGITS = DataSpec(kind="digits", split=SplitSpec(train=100, validation=50, test=50))


def spec(
    data: DataSpec = CIRCLES,
    *,
    model: str = "mlp",
    optimizer: Mapping[str, Any] = {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    epochs: int = 3,
    batch_size: int = 8,
    techniques: Mapping[str, Mapping[str, Any]] = {},
    **hyperparameters: Any,
) -> ArmSpec:
    """An arm: 33 rows in batches of 8, so that the last batch is smaller."""
    given = {key: value for key, value in optimizer.items() if key != "kind"}
    arguments = OPTIMIZERS[optimizer["kind"]].model_validate(given).model_dump()
    rank = 3 if data.kind == "digits" else 1
    hyperparameters = hyperparameters or {"mlp": {"hidden": (4,)}, "cnn": {"filters": (2,)}}[model]
    arm = ArmSpec(
        data=data,
        layers=MODELS.get(model).model_validate(hyperparameters).layers(rank),
        training=TrainingSpec(optimizer={"kind": optimizer["kind"], **arguments}, epochs=epochs, batch_size=batch_size),
    )
    return with_techniques(arm, techniques)


def with_techniques(arm: ArmSpec, techniques: Mapping[str, Mapping[str, Any]]) -> ArmSpec:
    for name, parameters in techniques.items():
        arm = TECHNIQUES.get(name).model_validate(parameters).apply(arm)
    return arm
