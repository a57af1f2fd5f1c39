from __future__ import annotations

import hashlib

import numpy as np
import pytest

from betterdl_cli import seeds


def test_seed_is_the_first_31_bits_of_the_hash_of_its_purpose() -> None:
    digest = hashlib.sha256(b'["split", 0]').hexdigest()
    assert seeds.derive("split", 0) == int(digest[:8], 16) // 2


def test_seeds_of_stored_runs_stay_what_they_are() -> None:
    assert seeds.layer_seed(0, "hidden_1", "kernel_initializer.seed") == 1630698398
    assert seeds.split_seed(0, None) == 775857753
    assert seeds.epoch_order(0, 0, 8).tolist() == [2, 0, 6, 3, 1, 7, 4, 5]


def test_a_stream_has_seeds_of_its_own_and_none_keeps_the_run_seed() -> None:
    assert seeds.in_stream(3, "") == 3
    assert seeds.in_stream(3, "control-aa") == seeds.derive("stream", "control-aa", 3)
    assert len({seeds.in_stream(seed, stream) for seed in range(50) for stream in ("", "a", "b")}) == 150


def test_seeds_fit_into_31_bits() -> None:
    found = [seeds.derive("x", number) for number in range(200)]
    assert all(0 <= seed < 2**31 for seed in found)
    assert len(set(found)) == 200


@pytest.mark.parametrize("other", [(1, "h", "seed"), (0, "g", "seed"), (0, "h", "bias")])
def test_layer_seed_depends_on_run_layer_and_purpose(other: tuple[int, str, str]) -> None:
    assert seeds.layer_seed(*other) != seeds.layer_seed(0, "h", "seed")


def test_order_of_an_epoch_is_a_permutation_of_all_rows() -> None:
    order = seeds.epoch_order(3, 7, 50)
    assert order.dtype == np.int32
    assert sorted(order.tolist()) == list(range(50))


@pytest.mark.parametrize("other", [(4, 7), (3, 8)])
def test_order_depends_on_run_and_epoch(other: tuple[int, int]) -> None:
    assert seeds.epoch_order(*other, 50).tolist() != seeds.epoch_order(3, 7, 50).tolist()


def test_split_depends_on_the_run_only_when_asked() -> None:
    assert (
        len({seeds.split_seed(0, None), seeds.split_seed(0, 1), seeds.split_seed(0, 2), seeds.split_seed(1, None)}) == 4
    )
