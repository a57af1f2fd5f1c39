"""Batches for engine ``fit``: all epochs one after the other, each in its own order, whatever the arm or backend."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from betterdl_cli.seeds import epoch_order
from betterdl_cli.training.data import Part
from betterdl_cli.training.outcome import FINGERPRINTED_EPOCHS


def training_batches(part: Part, seed: int, batch_size: int, orders: list[str]) -> Any:
    """What ``model.fit`` takes, without end; the last batch of an epoch may be smaller.

    The order of epoch e is ``epoch_order(seed, e, rows)``. Digests of the first orders are appended to ``orders`` as
    they are used. On TensorFlow a ``tf.data.Dataset``, elsewhere a generator of arrays.
    """
    if keras.backend.backend() != "tensorflow":
        return (
            (part.x[rows], part.y[rows])
            for order in _every_epoch(part, seed, orders)
            for rows in (order[start : start + batch_size] for start in range(0, part.rows, batch_size))
        )
    import tensorflow as tf

    x, y = tf.constant(part.x), tf.constant(part.y)
    signature = tf.TensorSpec(shape=(part.rows,), dtype=tf.int32)
    ordered = tf.data.Dataset.from_generator(lambda: _every_epoch(part, seed, orders), output_signature=signature)
    batches = ordered.flat_map(lambda order: tf.data.Dataset.from_tensor_slices(order).batch(batch_size))
    return batches.map(lambda rows: (tf.gather(x, rows), tf.gather(y, rows))).prefetch(tf.data.AUTOTUNE)


def validation_batches(part: Part, batch_size: int) -> dict[str, Any]:
    """The arguments of ``model.fit`` that name the validation data."""
    if keras.backend.backend() != "tensorflow":
        return {"validation_data": (part.x, part.y), "validation_batch_size": batch_size}
    import tensorflow as tf

    return {"validation_data": tf.data.Dataset.from_tensor_slices((part.x, part.y)).batch(batch_size).cache()}


def _every_epoch(part: Part, seed: int, orders: list[str]) -> Iterator[NDArray[np.int32]]:
    for epoch in itertools.count():
        order = epoch_order(seed, epoch, part.rows)
        if len(orders) == epoch < FINGERPRINTED_EPOCHS:
            orders.append(hashlib.sha256(order.astype("<i4").tobytes()).hexdigest()[:16])
        yield order
