"""What a technique is: hyperparameters with ranges, a card, and a pure function from spec to spec."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from betterdl_cli.registry import Registry
from betterdl_cli.spec import ArmSpec, Frozen, LayerSpec

Area = Literal["better learning", "better generalisation", "better predictions"]

AREAS: tuple[Area, ...] = ("better learning", "better generalisation", "better predictions")

CARD_SECTIONS = ("Formula", "When it helps", "When it hurts", "Interactions", "Reference")


class NotApplicableError(ValueError):
    """This technique cannot be applied to this arm; the text says why and what to do."""


class Technique(Frozen):
    """A technique toggle. Fields are its hyperparameters; the module's docstring is its card.

    A new technique is one file in this folder with one subclass, whose file name is its name in a config.
    ``example`` is the smallest set of parameters that makes it run on its smallest model.
    """

    area: ClassVar[Area]
    example: ClassVar[dict[str, Any]] = {}

    def apply(self, arm: ArmSpec) -> ArmSpec:
        """The same recipe with the technique. Raises :class:`NotApplicableError`; never changes ``arm``."""
        raise NotImplementedError


def require_hidden(arm: ArmSpec, technique: str) -> tuple[LayerSpec, ...]:
    """The hidden layers, or a :class:`NotApplicableError` when the model has none."""
    hidden = arm.hidden_layers
    if not hidden:
        raise NotApplicableError(f"expected a model with a hidden layer to apply {technique} to, found none")
    return hidden


TECHNIQUES = Registry(package=__package__ or "", base=Technique, what="technique")
