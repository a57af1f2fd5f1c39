"""Engine ``vectorized`` against engine ``fit`` through XLA, from the same specs and seeds."""

import pathlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from specs import CIRCLES, DIGITS, spec, with_techniques

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques.base import TECHNIQUES

SEEDS = (3, 5)


@pytest.fixture(scope="module", autouse=True)
def without_op_determinism() -> Iterator[None]:
    """As in a worker of this engine; tests of engine ``fit`` in the same process may have switched it on for good."""
    from tensorflow.python.framework import config

    before = config.is_op_determinism_enabled()
    config.disable_op_determinism()
    yield
    if before:
        config.enable_op_determinism()


@pytest.fixture(scope="module")
def vectorized() -> ModuleType:
    from betterdl_cli.training import vectorized

    return vectorized


@pytest.fixture(scope="module")
def fit() -> ModuleType:
    from betterdl_cli.training import fit

    return fit


def programs(vectorized: ModuleType) -> Any:
    from betterdl_cli.training.backends.base import backend_named

    return vectorized.Programs(backend_named("tensorflow"))


def trained(vectorized: ModuleType, arm: ArmSpec, seeds: tuple[int, ...] = SEEDS, **options: Any) -> list[Any]:
    group = programs(vectorized).group("arm", arm, seeds, options.pop("width", 2))
    return list(group.train({}, lambda epochs: None, **options))


def assert_same_history(ours: Any, theirs: Any, tolerance: float = 1e-4) -> None:
    assert list(ours.history) == list(theirs.history)
    for name in theirs.history:
        np.testing.assert_allclose(ours.history[name], theirs.history[name], rtol=tolerance, atol=1e-7, err_msg=name)


def assert_engines_agree(vectorized: ModuleType, fit: ModuleType, arm: ArmSpec) -> None:
    for ours, seed in zip(trained(vectorized, arm), SEEDS, strict=True):
        theirs = fit.train("arm", arm, seed, {}, jit=True)
        assert_same_history(ours, theirs)
        assert ours.record.fingerprints == theirs.record.fingerprints
        assert ours.weights.keys() == theirs.weights.keys()
        for part, scores in theirs.record.scores.items():
            assert ours.record.scores[part]["loss"] == pytest.approx(scores["loss"], rel=1e-4)


@pytest.mark.parametrize("name", TECHNIQUES.names)
def test_every_technique_trains_alike_in_both_engines(vectorized: ModuleType, fit: ModuleType, name: str) -> None:
    assert_engines_agree(vectorized, fit, with_techniques(spec(), {name: TECHNIQUES.get(name).example}))


@pytest.mark.parametrize("kind", ["adam", "rmsprop", "nadam"])
def test_optimizers_train_alike_in_both_engines(vectorized: ModuleType, fit: ModuleType, kind: str) -> None:
    assert_engines_agree(vectorized, fit, spec(optimizer={"kind": kind, "learning_rate": 0.01}))


def test_a_convolutional_network_trains_alike(vectorized: ModuleType, fit: ModuleType) -> None:
    assert_engines_agree(
        vectorized, fit, spec(DIGITS, model="cnn", techniques={"normalize_inputs": {"kind": "minmax"}})
    )


@pytest.mark.parametrize("techniques", [{}, {"normalize_inputs": {}}])
def test_a_new_split_per_seed_trains_alike(
    vectorized: ModuleType, fit: ModuleType, techniques: dict[str, dict[str, Any]]
) -> None:
    resplit = CIRCLES.model_copy(update={"split": CIRCLES.split.model_copy(update={"resplit": True})})
    assert_engines_agree(vectorized, fit, spec(resplit, techniques=techniques))


def test_an_arm_with_a_stream_of_seeds_trains_alike(vectorized: ModuleType, fit: ModuleType) -> None:
    split = CIRCLES.split.model_copy(update={"resplit": True})
    arm = spec(CIRCLES.model_copy(update={"split": split}), techniques={"dropout": {}})
    assert_engines_agree(vectorized, fit, arm.model_copy(update={"seed_stream": "control-aa"}))


def test_small_steps_of_validation_give_the_same_means(vectorized: ModuleType, fit: ModuleType) -> None:
    arm = spec().with_training(validation_batch_size=7)
    assert_engines_agree(vectorized, fit, arm)


def test_twenty_epochs_of_sgd_stay_within_1e_5(vectorized: ModuleType, fit: ModuleType) -> None:
    arm = spec(epochs=20)
    for ours, seed in zip(trained(vectorized, arm), SEEDS, strict=True):
        assert_same_history(ours, fit.train("arm", arm, seed, {}, jit=True), 1e-5)


def test_the_same_seed_gives_the_same_bits_in_any_company(vectorized: ModuleType) -> None:
    arm = spec(techniques={"dropout": {"rate": 0.3}})
    together, alone = trained(vectorized, arm, (3, 5))[1], trained(vectorized, arm, (5,))[0]
    for name in together.history:
        np.testing.assert_array_equal(together.history[name], alone.history[name])
    for name, weights in together.weights.items():
        np.testing.assert_array_equal(weights, alone.weights[name])


def test_a_stopped_seed_changes_nothing_for_the_other(vectorized: ModuleType) -> None:
    stopping = {"early_stopping": {"monitor": "loss", "patience": 1, "min_delta": 0.02}}
    several = trained(vectorized, spec(epochs=30, techniques=stopping), (0, 1, 2), width=3)
    epochs = [one.record.epochs for one in several]
    assert len(set(epochs)) > 1
    plain = trained(vectorized, spec(epochs=30), (0, 1, 2), width=3)
    for one, other in zip(several, plain, strict=True):
        np.testing.assert_array_equal(one.history["loss"], other.history["loss"][: one.record.epochs])


def test_the_best_weights_are_restored(vectorized: ModuleType) -> None:
    stopping = {"early_stopping": {"monitor": "val_loss", "patience": 2, "restore_best_weights": True}}
    arm = spec(epochs=40, optimizer={"kind": "sgd", "learning_rate": 2.0, "momentum": 0.9}, techniques=stopping)
    for one in trained(vectorized, arm):
        assert one.record.best is not None
        assert one.record.scores == one.record.best.scores


def test_a_rate_of_a_million_is_recorded_as_diverged(vectorized: ModuleType) -> None:
    arm = spec(epochs=10, optimizer={"kind": "sgd", "learning_rate": 1e6})
    assert [one.record.status for one in trained(vectorized, arm)] == ["diverged", "diverged"]


def test_training_goes_on_from_a_checkpoint_to_the_same_bits(vectorized: ModuleType, tmp_path: pathlib.Path) -> None:
    from betterdl_cli.training.checkpoint import Checkpoint

    class StopError(Exception):
        pass

    arm = spec(epochs=12, techniques={"dropout": {"rate": 0.3}})
    undisturbed = trained(vectorized, arm)
    heard: list[int] = []

    def interrupt(epochs: int) -> None:
        heard.append(epochs)
        if epochs >= 5:
            raise StopError

    group = programs(vectorized).group("arm", arm, SEEDS, 2)
    with pytest.raises(StopError):
        list(group.train({}, interrupt, Checkpoint(tmp_path / "state.npz", "one", every=0.0)))
    stored = Checkpoint(tmp_path / "state.npz", "one").load(group.program.initial(*_weights(group)))
    assert stored is not None
    assert 0 < stored.epochs <= heard[-1]
    continued = trained(vectorized, arm, checkpoint=Checkpoint(tmp_path / "state.npz", "one"))
    for before, after in zip(undisturbed, continued, strict=True):
        np.testing.assert_array_equal(before.history["loss"], after.history["loss"])
        for name, weights in before.weights.items():
            np.testing.assert_array_equal(weights, after.weights[name])


def _weights(group: Any) -> tuple[list[Any], list[Any]]:
    state = group._initial
    return state["trainable"], state["other"]


def test_a_torn_checkpoint_falls_back_to_the_one_before(tmp_path: pathlib.Path) -> None:
    from betterdl_cli.training.checkpoint import Checkpoint, Progress

    checkpoint = Checkpoint(tmp_path / "state.npz", "one", every=0.0)
    for epochs in (1, 2):
        state = {"weights": [np.full(2, epochs, np.float32)]}
        checkpoint._next = 0.0
        checkpoint.save(lambda state=state, epochs=epochs: Progress(state, epochs, np.zeros((epochs, 1, 2)), 0.0))
    whole = (tmp_path / "state.npz").read_bytes()
    (tmp_path / "state.npz").write_bytes(whole[: len(whole) // 2])
    found = checkpoint.load({"weights": [np.zeros(2, np.float32)]})
    assert found is not None
    assert found.epochs == 1


def test_a_checkpoint_of_another_training_is_not_loaded(tmp_path: pathlib.Path) -> None:
    from betterdl_cli.training.checkpoint import Checkpoint, Progress

    state = {"weights": [np.zeros(2, np.float32)]}
    first = Checkpoint(tmp_path / "state.npz", "one", every=0.0)
    first._next = 0.0
    first.save(lambda: Progress(state, 1, np.zeros((1, 1, 2)), 0.0))
    assert Checkpoint(tmp_path / "state.npz", "two").load(state) is None


# ---- many seeds, one that goes wrong ----


def test_a_seed_that_is_nan_from_epoch_3_harms_none_of_the_others(vectorized: ModuleType) -> None:
    arm, seeds = spec(epochs=8, techniques={"batch_norm": {}, "dropout": {"rate": 0.3}}), tuple(range(10))
    undisturbed = trained(vectorized, arm, seeds, width=10)
    group = programs(vectorized).group("arm", arm, seeds, 10)
    run, chunks = group.program.run, []

    def poison(state: Any, *arguments: Any) -> Any:
        chunks.append(int(state["epochs"].max()))
        if chunks[-1] >= 2:
            first, *rest = state["trainable"]
            state = {**state, "trainable": [np.where(np.arange(10)[:, None, None] == 4, np.nan, first), *rest]}
        return run(state, *arguments)

    group.program.run = poison
    disturbed = list(group.train({}, lambda epochs: None, chunk_seconds=0.0))
    assert [chunk for chunk in chunks if chunk == 2]
    for seed, (before, after) in enumerate(zip(undisturbed, disturbed, strict=True)):
        if seed == 4:
            assert (after.record.status, after.record.diverged_epoch, after.record.epochs) == ("diverged", 3, 3)
        else:
            for name in before.history:
                np.testing.assert_array_equal(before.history[name], after.history[name])
            for name, weights in before.weights.items():
                np.testing.assert_array_equal(weights, after.weights[name])


# ---- programs ----


def test_arms_with_the_same_graph_share_a_program(vectorized: ModuleType) -> None:
    shared = programs(vectorized)
    plain, longer = spec(epochs=5), spec(epochs=5).with_preprocessing({"kind": "standard"})
    first, second = shared.group("control", plain, (0, 1), 2), shared.group("scaled", longer, (2,), 2)
    assert first.program is second.program
    assert shared.group("dropout", spec(epochs=5, techniques={"dropout": {"rate": 0.3}}), (0, 1), 2).program is not (
        first.program
    )


def test_a_shared_program_gives_the_same_bits(vectorized: ModuleType) -> None:
    shared, arm = programs(vectorized), spec(techniques={"dropout": {"rate": 0.3}})
    list(shared.group("arm", arm, (0, 1), 2).train({}, lambda epochs: None))
    again = list(shared.group("arm", arm, (3, 5), 2).train({}, lambda epochs: None))
    for ours, theirs in zip(again, trained(vectorized, arm, (3, 5)), strict=True):
        assert ours.record.fingerprints == theirs.record.fingerprints
        np.testing.assert_array_equal(ours.history["loss"], theirs.history["loss"])


def test_as_many_seeds_as_fit_in_memory_are_prepared(vectorized: ModuleType) -> None:
    arm = spec(epochs=5)
    needed = vectorized.bytes_needed(arm, 0, 5)
    assert programs(vectorized).prepare("arm", arm, (0, 1, 2), 10, memory=needed) == 5


def test_what_does_not_fit_with_one_seed_is_refused_with_both_sizes(vectorized: ModuleType) -> None:
    with pytest.raises(vectorized.NoMemoryError, match=r"needs about \d\.\d GB of memory, found 0\.0 GB to use"):
        programs(vectorized).prepare("arm", spec(epochs=5), (0,), 10, memory=1e6)


def test_a_layer_that_the_compiler_refuses_is_refused_when_prepared(vectorized: ModuleType) -> None:
    arm = spec(epochs=2)
    first, *rest = arm.layers
    recurrent = (
        first.model_copy(
            update={"kind": "Reshape", "name": "steps", "arguments": {"target_shape": (2, 1)}, "hidden": False}
        ),
        first.model_copy(update={"kind": "GRU", "arguments": {"units": 4}}),
        *rest,
    )
    with pytest.raises(Exception, match="unsupported operations"):
        programs(vectorized).prepare("arm", arm.with_layers(recurrent), (0, 1), 2)
    assert programs(vectorized).prepare("arm", arm, (0, 1), 2) == 2


def test_only_the_first_of_a_structure_is_compiled_beforehand(
    vectorized: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(vectorized.Group, "compile", lambda group: compiled.append(group.arm))
    shared = programs(vectorized)
    for rate in (0.1, 0.2):
        shared.prepare(f"dropout-{rate}", spec(techniques={"dropout": {"rate": rate}}), (0, 1), 2)
    shared.prepare("control", spec(), (0, 1), 2)
    assert compiled == ["dropout-0.1", "control"]
