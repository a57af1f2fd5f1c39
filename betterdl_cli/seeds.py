"""Every random number of a run comes from here, so that two arms differ by the technique and by nothing else.

Seeds are derived by hashing what they are for: adding a layer, an epoch or a seed never shifts another one.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray


def derive(*purpose: str | int) -> int:
    """A seed in [0, 2**31) that depends on the whole ``purpose`` and nothing else."""
    digest = hashlib.sha256(json.dumps(purpose).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def in_stream(run_seed: int, stream: str) -> int:
    """The seed of a run in a stream of its own; the run seed itself without one."""
    return derive("stream", stream, run_seed) if stream else run_seed


def layer_seed(run_seed: int, layer: str, purpose: str) -> int:
    """Seed for one random part of a layer (``purpose``: 'kernel_initializer', 'seed' of a Dropout ...)."""
    return derive("layer", run_seed, layer, purpose)


def epoch_order(run_seed: int, epoch: int, rows: int) -> NDArray[np.int32]:
    """The order in which the training rows are visited in an epoch (from 0): a permutation of 0..rows-1."""
    generator = np.random.Generator(np.random.PCG64(derive("order", run_seed, epoch)))
    return generator.permutation(rows).astype(np.int32)


def split_seed(data_seed: int, run_seed: int | None) -> int:
    """Seed of the data split: of the data alone, or of data and run when every run draws its own split."""
    return derive("split", data_seed) if run_seed is None else derive("split", data_seed, run_seed)
