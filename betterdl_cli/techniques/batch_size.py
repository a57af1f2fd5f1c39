"""Batch size: how many rows one weight update looks at.

Formula:
    updates per epoch = ceil(rows / size); the gradient is the mean over the rows of the batch, with a standard
    error that falls with 1/sqrt(size)

When it helps:
    Smaller batches make more, noisier updates per epoch: training gets further in the same number of epochs, and the
    noise can lead to solutions that generalise better. Larger batches give a steadier gradient and use hardware well.

When it hurts:
    A batch of one is noisy and slow per epoch; the whole training set as one batch makes one update per epoch and
    needs many epochs or a higher learning rate.

Interactions:
    The learning rate and the batch size belong together: a larger batch tolerates a higher learning rate. Batch
    normalisation needs more than a few rows per batch.

Reference:
    Keskar et al. 2017, "On Large-Batch Training for Deep Learning", ICLR; Goodfellow, Bengio, Courville 2016,
    "Deep Learning", section 8.1.3.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, StrictInt

from betterdl_cli.spec import MAX_COUNT, ArmSpec
from betterdl_cli.techniques.base import Area, Technique


class BatchSize(Technique):
    area: ClassVar[Area] = "better learning"
    example: ClassVar[dict[str, Any]] = {"size": 8}

    size: StrictInt = Field(
        ge=1, le=MAX_COUNT, description="rows per weight update; at least the training rows: gradient descent"
    )

    def apply(self, arm: ArmSpec) -> ArmSpec:
        return arm.with_training(batch_size=self.size)
