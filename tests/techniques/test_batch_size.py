from __future__ import annotations

from betterdl_cli.spec import ArmSpec, differences
from betterdl_cli.techniques.batch_size import BatchSize


def test_changes_the_batch_size_and_nothing_else(mlp: ArmSpec) -> None:
    changed = BatchSize(size=8).apply(mlp)
    assert [str(difference) for difference in differences(mlp, changed)] == ["~ training.batch_size: 32 → 8"]
