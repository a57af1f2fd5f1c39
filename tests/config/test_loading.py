from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from betterdl_cli.config import yaml12
from betterdl_cli.config.loading import load
from betterdl_cli.errors import ConfigError

Write = Callable[..., pathlib.Path]


def refusal(path: pathlib.Path, *words: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, words)
    return str(caught.value).split("\n")


def starts(lines: list[str]) -> list[str]:
    """Place and path of each fault."""
    return [": ".join(line.split(": ")[:2]) for line in lines]


def test_config_becomes_an_experiment_with_its_arms(write: Write) -> None:
    loaded = load(write())
    assert loaded.experiment.name == "t"
    assert [arm.id for arm in loaded.arms] == ["control", "dropout"]


# ---- where faults are ----


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("name: t", "name: A", "c.yaml:1:7: name"),
        ("n_samples: 100", "n_samples: x", "c.yaml:2:39: data.n_samples"),
        ("n_samples: 100", "n_sample: 100", "c.yaml:2:28: data.n_sample"),
        ("kind: make_circles, ", "", "c.yaml:2:7: data"),
        ("test: 20", "test: 0", "c.yaml:2:85: data.split.test"),
        (", test: 20", "", "c.yaml:2:51: data.split.test"),
        ("hidden: [8]", "hidden: [8, 8, -1]", "c.yaml:3:35: model.hidden.2"),
        ("learning_rate: 0.1", "learning_rate: -0.1", "c.yaml:4:50: training.optimizer.learning_rate"),
        ("learning_rate: 0.1", "learning_rate: {kind: cosine_decay, initial_learning_rate: 0.1, decay_steps: 0}",
         "c.yaml:4:112: training.optimizer.learning_rate.decay_steps"),
        ("dropout: {rate: 0.2}", "dropout: {rate: 2}", "c.yaml:6:19: techniques.dropout.rate"),
        ("dropout: {rate: 0.2}", "dropout:\n    rate: [0.2,\n      2]", "c.yaml:8:7: techniques.dropout.rate.1"),
        ("dropout:", "droput:", "c.yaml:6:3: techniques.droput"),
        ("dropout: {rate: 0.2}", "early_stopping: {monitor: val_los}",
         "c.yaml:6:29: techniques.early_stopping.monitor"),
        ("dropout: {rate: 0.2}", "batch_size: {size: 16}", "c.yaml:6:15: techniques.batch_size"),
        ("seeds: 3", "seeds: 0", "c.yaml:7:8: seeds"),
        ("seeds: 3", "sedes: 3", "c.yaml:7:1: sedes"),
        ("seeds: 3", "base: {l2: {l2: 0}}", "c.yaml:7:17: base.l2.l2"),
        ("seeds: 3", "arms: {a: [dropout, l3]}", "c.yaml:7:21: arms.a.1"),
        ("seeds: 3", "arms: {a: {dropout: {rate: 7}}}", "c.yaml:7:28: arms.a.dropout.rate"),
        ("seeds: 3", "arms: {A: [dropout, l2]}", "c.yaml:7:8: arms.A"),
        ("seeds: 3", "store: {weights: 1}", "c.yaml:7:18: store.weights"),
        ("name: t\n", "", "c.yaml:1:1: name"),
    ],
)  # fmt: skip
def test_fault_is_located_in_the_file(write: Write, old: str, new: str, place: str) -> None:
    assert starts(refusal(write(old, new))) == [place]


def test_all_faults_of_a_file_are_shown_in_the_order_of_the_file(write: Write) -> None:
    path = write("name: t", "name: T", "epochs: 5", "epochs: x", "kind: sgd", "kind: sg", "rate: 0.2", "rate: 2",
                 "seeds: 3", "sedes: 3")  # fmt: skip
    assert starts(refusal(path)) == [
        "c.yaml:1:7: name",
        "c.yaml:4:30: training.optimizer.kind",
        "c.yaml:4:63: training.epochs",
        "c.yaml:6:19: techniques.dropout.rate",
        "c.yaml:7:1: sedes",
    ]


def test_file_name_in_messages_is_the_path_as_given(here: pathlib.Path, write: Write) -> None:
    write("seeds: 3", "seeds: 0")
    assert refusal(here / "c.yaml") == [f"{here}/c.yaml:7:8: seeds: expected at least one seed, found none"]


# ---- overrides ----


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("techniques.dropout.rate=2", "techniques.dropout.rate: expected a number < 1, found 2"),
        ("seeds=0", "seeds: expected at least one seed, found none"),
        ("model.hidden.0=-1", "model.hidden.0: expected a number ≥ 1, found -1"),
        ("training.epochs=5.5", "training.epochs: expected an integer, found 5.5"),
        ("training.epochs=null", "training.epochs: expected an integer, found nothing"),
        ("training.optimizer={kind: sgd, momentum: 2}", "training.optimizer.momentum: expected a number ≤ 1, found 2"),
        ("techniques.batch_size={size: 16}",
         "techniques.batch_size: 'batch_size' changes nothing: the control is already like that"),
        ("techniques.l2=5", "techniques.l2: expected a mapping of parameters ({} for the defaults), found 5"),
        ("techniques.5={}", "techniques.5: expected the name of a technique (batch_norm, batch_size, dropout, "
         "early_stopping, gaussian_noise, l1, l1_l2, l2, lr_schedule, normalize_inputs), found '5'"),
        ("arms.5=[dropout]", "arms.5: expected different arms, found '5' the same as 'dropout'"),
        ("base={droput: {}}", "base.droput: expected the name of a technique (batch_norm, batch_size, dropout, "
         "early_stopping, gaussian_noise, l1, l1_l2, l2, lr_schedule, normalize_inputs), found 'droput' "
         "(did you mean 'dropout'?)"),
    ],
)  # fmt: skip
def test_fault_of_an_override_names_the_override(write: Write, word: str, message: str) -> None:
    assert refusal(write(), word) == [f"override '{word}': {message}"]


def test_fault_that_an_override_brings_out_in_the_file_is_located_there(write: Write) -> None:
    assert refusal(write(), "data.kind=digits") == ["c.yaml:2:28: data.n_samples: unknown key; expected one of: split"]


def test_fault_of_the_file_is_not_blamed_on_an_override_beside_it(write: Write) -> None:
    assert starts(refusal(write(", test: 20", ""), "seeds=5", "data.split.train=50")) == [
        "c.yaml:2:51: data.split.test"
    ]


def test_fault_of_a_mapping_that_the_file_states_is_located_there(write: Write) -> None:
    path = write("train: 60", "train: 0.5", "test: 20", "test: 0.5")
    assert starts(refusal(path, "data.split.train=0.7")) == ["c.yaml:2:51: data.split"]


def test_faults_of_file_and_overrides_are_shown_together(write: Write) -> None:
    found = refusal(write("seeds: 3", "sedes: 3"), "nonsense", "training.epochs=x", "techniques.dropout.rate=5")
    assert starts(found) == [
        "c.yaml:7:1: sedes",
        "override 'nonsense': expected KEY=VALUE such as training.epochs=50, found 'nonsense'",
        "override 'training.epochs=x': training.epochs",
        "override 'techniques.dropout.rate=5': techniques.dropout.rate",
    ]


def test_override_repairs_what_is_wrong_or_missing_in_the_file(write: Write) -> None:
    loaded = load(write("name: t\n", "", "epochs: 5", "epochs: x"), ["name=repaired", "training.epochs=7"])
    assert (loaded.experiment.name, loaded.experiment.training.epochs) == ("repaired", 7)


def test_misspelt_override_of_a_file_that_is_not_valid_is_refused_too(write: Write) -> None:
    found = refusal(write("name: t\n", ""), "name=x", "trainig.epochs=7")
    assert starts(found) == ["override 'trainig.epochs=7': trainig"]
    assert found[0].endswith("(did you mean 'training'?)")


def test_overrides_change_the_experiment(write: Write) -> None:
    loaded = load(write(), ["seeds=[7]", "techniques.dropout.rate=[0.25, 0.75]", "data.split.validation=test"])
    assert loaded.experiment.seeds == (7,)
    assert [arm.id for arm in loaded.arms] == ["control", "dropout-rate-0.25", "dropout-rate-0.75"]
    assert loaded.experiment.data.split.validation == "test"


# ---- smoke, defaults ----


def test_smoke_run_reduces_every_arm(write: Write) -> None:
    loaded = load(write(), ["training.epochs=500", "seeds=9"], smoke=True)
    assert {arm.spec.training.epochs for arm in loaded.arms} == {3}
    assert {arm.spec.data.row_limit for arm in loaded.arms} == {64}
    assert loaded.experiment.seeds == (0, 1)
    assert loaded.experiment.smoke


def test_config_written_with_its_defaults_is_the_same_experiment(here: pathlib.Path, write: Write) -> None:
    loaded = load(write())
    (here / "again.yaml").write_text(yaml12.dump(loaded.experiment.resolved), encoding="utf-8")
    again = load(pathlib.Path("again.yaml"))
    assert again.experiment == loaded.experiment
    assert again.arms == loaded.arms


CONFIGS = sorted((pathlib.Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_the_repository_is_valid_also_with_its_defaults(path: pathlib.Path, here: pathlib.Path) -> None:
    loaded = load(path)
    assert len(loaded.arms) > 1
    (here / "again.yaml").write_text(yaml12.dump(loaded.experiment.resolved), encoding="utf-8")
    assert load(pathlib.Path("again.yaml")).arms == loaded.arms


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_the_repository_says_how_to_run_it(path: pathlib.Path) -> None:
    header = path.read_text(encoding="utf-8").partition("name:")[0]
    assert f"#   bdl run configs/{path.name} seeds=3" in header


def test_there_is_a_config_for_each_of_the_lessons_two_to_seven() -> None:
    assert [path.stem[:8] for path in CONFIGS if path.stem.startswith("lesson")] == [
        f"lesson0{number}" for number in range(2, 8)
    ]
