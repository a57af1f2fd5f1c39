from __future__ import annotations

import pytest

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques.base import NotApplicableError
from betterdl_cli.techniques.normalize_inputs import NormalizeInputs


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_adds_one_step_before_the_network(mlp: ArmSpec, kind: str) -> None:
    changed = NormalizeInputs.model_validate({"kind": kind}).apply(mlp)
    assert changed.data.preprocessing == ({"kind": kind},)
    assert changed.layers == mlp.layers


def test_second_normalisation_is_refused(mlp: ArmSpec) -> None:
    once = NormalizeInputs().apply(mlp)
    with pytest.raises(NotApplicableError, match="normalised once"):
        NormalizeInputs(kind="minmax").apply(once)
