"""Keras's optimizers and learning-rate schedules as plain data: names, arguments, defaults and ranges.

Kept here, without Keras, so that a config is checked before Keras is imported; a test holds every name and default
against the installed Keras. Reference: Keras 3 API documentation, ``keras.optimizers``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from betterdl_cli.parameters import found
from betterdl_cli.spec import MAX_COUNT, Frozen

CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


Steps = Annotated[StrictInt, Field(gt=0, le=MAX_COUNT)]


class Schedule(Frozen):
    """A learning rate that follows the number of update steps (not epochs)."""

    keras_name: ClassVar[str]


class ExponentialDecay(Schedule):
    keras_name = "ExponentialDecay"
    initial_learning_rate: float = Field(gt=0)
    decay_steps: Steps
    decay_rate: float = Field(gt=0)
    staircase: StrictBool = False


class InverseTimeDecay(ExponentialDecay):
    keras_name = "InverseTimeDecay"


class PolynomialDecay(Schedule):
    keras_name = "PolynomialDecay"
    initial_learning_rate: float = Field(gt=0)
    decay_steps: Steps
    end_learning_rate: float = Field(default=1e-4, ge=0)
    power: float = Field(default=1.0, gt=0)
    cycle: StrictBool = False


class CosineDecay(Schedule):
    keras_name = "CosineDecay"
    initial_learning_rate: float = Field(ge=0)
    decay_steps: Steps
    alpha: float = Field(default=0.0, ge=0, le=1)
    warmup_target: float | None = Field(default=None, gt=0)
    warmup_steps: StrictInt = Field(default=0, ge=0, le=MAX_COUNT)

    @model_validator(mode="after")
    def _whole_warm_up(self) -> CosineDecay:
        if (self.warmup_target is None) != (self.warmup_steps == 0):  # Keras leaves the warm-up out in silence
            raise PydanticCustomError(
                "cosine", "expected warmup_target and warmup_steps together, found one without the other"
            )
        if self.initial_learning_rate == 0 and self.warmup_target is None:
            raise PydanticCustomError(
                "cosine", "expected an initial_learning_rate > 0 without a warm-up, found 0: nothing would be learned"
            )
        return self


class CosineDecayRestarts(Schedule):
    keras_name = "CosineDecayRestarts"
    initial_learning_rate: float = Field(gt=0)
    first_decay_steps: Steps
    t_mul: float = Field(default=2.0, ge=1)
    m_mul: float = Field(default=1.0, gt=0)
    alpha: float = Field(default=0.0, ge=0, le=1)


class PiecewiseConstantDecay(Schedule):
    keras_name = "PiecewiseConstantDecay"
    boundaries: tuple[Steps, ...] = Field(min_length=1)
    values: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _one_more_value(self) -> PiecewiseConstantDecay:
        if len(self.values) != len(self.boundaries) + 1:
            raise PydanticCustomError(
                "piecewise",
                "expected one value more than boundaries, found {values} values and {boundaries} boundaries",
                {"values": len(self.values), "boundaries": len(self.boundaries)},
            )
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise PydanticCustomError("piecewise", "expected increasing boundaries, found them out of order")
        return self


def _learning_rate(value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not isinstance(value, dict) and not (number and value > 0):
        raise PydanticCustomError(
            "learning_rate",
            "expected a number > 0 or a schedule (a mapping with a kind), found {found}",
            {"found": found(value)},
        )
    return value


LearningRate = Annotated[float | dict[str, Any], BeforeValidator(_learning_rate)]


class Optimizer(Frozen):
    """Arguments that every Keras optimizer takes. ``learning_rate`` is a number or a schedule (a mapping)."""

    keras_name: ClassVar[str]
    learning_rate: LearningRate = 0.001
    weight_decay: float | None = Field(default=None, ge=0)
    clipnorm: float | None = Field(default=None, gt=0)
    clipvalue: float | None = Field(default=None, gt=0)
    global_clipnorm: float | None = Field(default=None, gt=0)
    use_ema: StrictBool = False
    ema_momentum: float = Field(default=0.99, ge=0, le=1)
    ema_overwrite_frequency: StrictInt | None = Field(default=None, ge=1, le=MAX_COUNT)
    gradient_accumulation_steps: StrictInt | None = Field(default=None, ge=2, le=MAX_COUNT)


class SGD(Optimizer):
    keras_name = "SGD"
    learning_rate: LearningRate = 0.01
    momentum: float = Field(default=0.0, ge=0, le=1)
    nesterov: StrictBool = False


class _Adaptive(Optimizer):
    beta_1: float = Field(default=0.9, ge=0, lt=1)
    beta_2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-7, gt=0)


class Adam(_Adaptive):
    keras_name = "Adam"
    amsgrad: StrictBool = False


class AdamW(Adam):
    keras_name = "AdamW"
    weight_decay: float = Field(default=0.004, ge=0)  # Keras takes no None here; 0 turns it off


class Adamax(_Adaptive):
    keras_name = "Adamax"


class Nadam(_Adaptive):
    keras_name = "Nadam"


class Lamb(_Adaptive):
    keras_name = "Lamb"


class Lion(Optimizer):
    keras_name = "Lion"
    beta_1: float = Field(default=0.9, gt=0, lt=1)
    beta_2: float = Field(default=0.99, ge=0, lt=1)


class RMSprop(Optimizer):
    keras_name = "RMSprop"
    rho: float = Field(default=0.9, ge=0, lt=1)
    momentum: float = Field(default=0.0, ge=0, le=1)
    epsilon: float = Field(default=1e-7, gt=0)
    centered: StrictBool = False


class Adagrad(Optimizer):
    keras_name = "Adagrad"
    initial_accumulator_value: float = Field(default=0.1, ge=0)
    epsilon: float = Field(default=1e-7, gt=0)


class Adadelta(Optimizer):
    keras_name = "Adadelta"
    rho: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-7, gt=0)


class Adafactor(Optimizer):
    keras_name = "Adafactor"
    beta_2_decay: float = Field(default=-0.8, le=0)
    epsilon_1: float = Field(default=1e-30, ge=0)
    epsilon_2: float = Field(default=1e-3, ge=0)
    clip_threshold: float = Field(default=1.0, gt=0)
    relative_step: StrictBool = True


class Ftrl(Optimizer):
    keras_name = "Ftrl"
    learning_rate_power: float = Field(default=-0.5, le=0)
    initial_accumulator_value: float = Field(default=0.1, ge=0)
    l1_regularization_strength: float = Field(default=0.0, ge=0)
    l2_regularization_strength: float = Field(default=0.0, ge=0)
    l2_shrinkage_regularization_strength: float = Field(default=0.0, ge=0)
    beta: float = 0.0


class Muon(Optimizer):
    keras_name = "Muon"
    adam_beta_1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta_2: float = Field(default=0.999, ge=0, lt=1)
    adam_weight_decay: float = Field(default=0.004, ge=0)
    epsilon: float = Field(default=1e-7, gt=0)
    weight_decay: float = Field(default=0.004, ge=0)
    momentum: float = Field(default=0.95, ge=0, lt=1)
    ns_steps: StrictInt = Field(default=5, ge=1)
    nesterov: StrictBool = True


def _by_name(*classes: type[Any]) -> dict[str, type[Any]]:
    return {cls.keras_name.lower(): cls for cls in classes}


OPTIMIZERS: dict[str, type[Optimizer]] = _by_name(
    SGD, Adam, AdamW, Adamax, Nadam, RMSprop, Adagrad, Adadelta, Adafactor, Ftrl, Lion, Lamb, Muon
)

SCHEDULES: dict[str, type[Schedule]] = {
    "exponential_decay": ExponentialDecay,
    "inverse_time_decay": InverseTimeDecay,
    "polynomial_decay": PolynomialDecay,
    "cosine_decay": CosineDecay,
    "cosine_decay_restarts": CosineDecayRestarts,
    "piecewise_constant_decay": PiecewiseConstantDecay,
}
