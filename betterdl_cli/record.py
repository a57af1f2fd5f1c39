"""What is kept of one run beside its history: ``run.json`` as a model."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from betterdl_cli.spec import Frozen, Json

# what decides the bits of a run beside its spec and its seed: keys of ``RunRecord.environment``
COMPARABLE = ("engine", "backend", "device", "threads", "jit_compile", "machine", "versions")

Engine = Literal["fit", "vectorized"]
Scores = dict[str, dict[str, float | None]]  # part (train, validation, test) -> metric -> value; None: not finite


class BestEpoch(Frozen):
    """Scores of the weights at the end of one epoch, chosen by ``selected_on``: optimistic on that part."""

    epoch: int
    selected_on: str
    scores: Scores


class Fingerprints(Frozen):
    """Digests of what two runs may share: the rows of each part, the order of the first epochs, initial weights."""

    split: str
    order: tuple[str, ...]
    weights: dict[str, str]


class RunRecord(Frozen):
    """One run. ``epochs``: epochs trained; ``diverged_epoch`` counts from 1; ``seconds``: wall time of training.

    ``penalised`` says that the losses of the history include a regularisation penalty; the losses in ``scores`` never
    do. ``files`` maps the names of the other files of the run to their SHA-256.
    """

    model_config = ConfigDict(populate_by_name=True)

    schema_name: Literal["bdl.run/1"] = Field(default="bdl.run/1", alias="schema")
    arm: str
    seed: int
    spec: str
    status: Literal["completed", "diverged", "failed"]
    epochs: int = 0
    diverged_epoch: int | None = None
    stopped_early: bool = False
    scores: Scores = {}
    best: BestEpoch | None = None
    reference_loss: float | None = None
    penalised: bool = False
    parameters: int = 0
    rows: dict[str, int] = {}
    fingerprints: Fingerprints | None = None
    seconds: float = 0.0
    environment: dict[str, Json] = {}
    files: dict[str, str] = {}
    error: str | None = None

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train: a diverged run is a result, a failed one is not."""
        return self.status != "failed"
