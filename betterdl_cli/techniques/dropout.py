"""Dropout: in training, zero a random share of every hidden layer's outputs and scale up the rest.

Formula:
    y = x · m / (1 − rate), m ~ Bernoulli(1 − rate) per value; the identity in validation and prediction.
    Half of the literature states the retention probability p = 1 − rate instead

When it helps:
    Networks large enough to memorise their data; it acts like averaging many thinned networks.

When it hurts:
    Small networks and short trainings: capacity and speed are lost. Training loss is then measured with dropout and
    validation loss without, so validation may look better than training.

Interactions:
    Placed behind the activation (and pooling) of every hidden layer. With batch normalisation the shift in variance
    can hurt: use a lower rate or one of the two. Needs more epochs, and often a wider layer.

Reference:
    Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from betterdl_cli.spec import ArmSpec, LayerSpec
from betterdl_cli.techniques.base import Area, Technique, require_hidden


class Dropout(Technique):
    area: ClassVar[Area] = "better generalisation"
    example: ClassVar[dict[str, Any]] = {"rate": 0.5}

    rate: float | None = Field(default=None, gt=0, lt=1, description="share of values dropped (0.5 if none is given)")
    retention: float | None = Field(default=None, gt=0, lt=1, description="share of values kept: 1 − rate")

    @model_validator(mode="before")
    @classmethod
    def _one_of_two(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = [name for name in ("rate", "retention") if values.get(name) is not None]
        if len(given) == 2:
            raise PydanticCustomError(
                "dropout", "expected either rate or retention (= 1 − rate), found both: leave one out"
            )
        return values if given else {**values, "rate": 0.5}

    @property
    def dropped(self) -> float:
        """The share of values dropped, in (0, 1)."""
        return self.rate if self.rate is not None else round(1 - (self.retention or 0.5), 12)

    def apply(self, arm: ArmSpec) -> ArmSpec:
        require_hidden(arm, "dropout")

        def dropout(hidden: LayerSpec) -> LayerSpec:
            return LayerSpec(
                name=f"{hidden.name}_dropout",
                kind="Dropout",
                arguments={"rate": self.dropped},
                block=hidden.name,
            )

        return arm.insert_after_hidden(dropout, end_of_block=True)
