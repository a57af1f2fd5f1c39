"""Convolutions of stacked seeds as matrix products.

Mapped over seeds, a convolution becomes a grouped one, for which XLA on CPU has no fast kernel: four times slower than
a batched matrix product over patches (measured in benchmarks/). The arithmetic is the same up to rounding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from keras import ops
from keras.src.ops import nn

_ORIGINAL = nn.backend.nn.conv


@contextlib.contextmanager
def convolutions_as_products() -> Iterator[None]:
    """While a program is traced, plain two-dimensional convolutions (stride 1, no dilation, one group) use patches."""
    nn.backend.nn.conv = _conv
    try:
        yield
    finally:
        nn.backend.nn.conv = _ORIGINAL


def _conv(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None, dilation_rate: Any = 1
) -> Any:
    plain = len(kernel.shape) == 4 and _all_ones(strides) and _all_ones(dilation_rate)
    channels_last = data_format in (None, "channels_last")
    if not plain or not channels_last or inputs.shape[-1] != kernel.shape[2] or padding not in {"same", "valid"}:
        return _ORIGINAL(inputs, kernel, strides, padding, data_format, dilation_rate)
    height, width, channels, filters = kernel.shape
    if padding == "same":
        above, left = (height - 1) // 2, (width - 1) // 2
        inputs = ops.pad(inputs, ((0, 0), (above, height - 1 - above), (left, width - 1 - left), (0, 0)))
    rows, columns = inputs.shape[1] - height + 1, inputs.shape[2] - width + 1
    patches = ops.concatenate(
        [inputs[:, i : i + rows, j : j + columns, :] for i in range(height) for j in range(width)], axis=-1
    )
    flat = ops.reshape(patches, (-1, height * width * channels))
    products = ops.matmul(flat, ops.reshape(kernel, (height * width * channels, filters)))
    return ops.reshape(products, (-1, rows, columns, filters))


def _all_ones(value: Any) -> bool:
    return all(item == 1 for item in value) if isinstance(value, (tuple, list)) else value == 1
