from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from betterdl_cli.config import yaml12
from betterdl_cli.config.loading import load
from betterdl_cli.errors import ConfigError, Fault

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


# ---- faults of the YAML and of what it says ----

MIXED = """\
name: t
data: {kind: make_circles, n_samples: 100, noise: .nan, nois: 1}
model: {kind: mlp, hidden: [8, .inf, 0], activation: rleu}
training: {optimizer: {kind: adam, learning_rate: *x}, epochs: 5, batch_size: 0, epochs: x}
techniques:
  dropout: &d {rate: [0.2, .inf, 2]}
  droput: {}
  l2: !foo {l2: 1, x: 2}
  l1: !!python/object:x [1]
  early_stopping: {monitor: [.nan, .nan], patience: -1}
arms: {a: [.nan, l3], 5: [l2], &b b: x}
seeds: [1, .nan]
metric: .inf
"""


def test_faults_of_the_yaml_and_of_what_it_says_are_shown_together_and_once(here: pathlib.Path) -> None:
    (here / "c.yaml").write_text(MIXED)
    assert starts(refusal(pathlib.Path("c.yaml"))) == [
        "c.yaml:2:51: data.noise",
        "c.yaml:2:57: data.nois",
        "c.yaml:3:32: model.hidden.1",
        "c.yaml:3:38: model.hidden.2",
        "c.yaml:3:54: model.activation",
        "c.yaml:4:51: training.optimizer.learning_rate",
        "c.yaml:4:79: training.batch_size",
        "c.yaml:4:82: training.epochs",
        "c.yaml:6:12: techniques.dropout",
        "c.yaml:6:28: techniques.dropout.rate.1",
        "c.yaml:6:34: techniques.dropout.rate.2",
        "c.yaml:7:3: techniques.droput",
        "c.yaml:8:7: techniques.l2",
        "c.yaml:8:20: techniques.l2.x",
        "c.yaml:9:7: techniques.l1",
        "c.yaml:10:30: techniques.early_stopping.monitor.0",
        "c.yaml:10:36: techniques.early_stopping.monitor.1",
        "c.yaml:10:53: techniques.early_stopping.patience",
        "c.yaml:11:12: arms.a.0",
        "c.yaml:11:18: arms.a.1",
        "c.yaml:11:23: arms",
        "c.yaml:11:32: arms.b",
        "c.yaml:11:38: arms.b",
        "c.yaml:12:12: seeds.1",
        "c.yaml:13:9: metric",
    ]


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("name: t", "name: .nan", "c.yaml:1:7: name"),
        ("name: t", r'name: "x\ud800"', "c.yaml:1:7: name"),
        ("name: t", "name: !!str t", "c.yaml:1:7: name"),
        ("name: t", "&a name: t", "c.yaml:1:1: name"),
        ("kind: make_circles", "kind: .nan", "c.yaml:2:14: data.kind"),
        ("kind: make_circles", "kind: *x", "c.yaml:2:14: data.kind"),
        ("kind: sgd", "kind: .inf", "c.yaml:4:30: training.optimizer.kind"),
        ("{rate: 0.2}", "*x", "c.yaml:6:12: techniques.dropout"),
        ("{rate: 0.2}", "{rate: .nan}", "c.yaml:6:19: techniques.dropout.rate"),
        ("{rate: 0.2}", "{.nan: 0.2}", "c.yaml:6:13: techniques.dropout..nan"),
        ("{rate: 0.2}", "{5: 0.2}", "c.yaml:6:13: techniques.dropout"),
        ("seeds: 3", "seeds: .nan", "c.yaml:7:8: seeds"),
        ("seeds: 3", "seeds: 3\nseeds: x", "c.yaml:8:1: seeds"),
        ("seeds: 3", "seeds: 3\nmodel: {hidden: .nan}", "c.yaml:8:1: model"),
    ],
)  # fmt: skip
def test_fault_of_the_yaml_brings_no_second_one(write: Write, old: str, new: str, place: str) -> None:
    assert starts(refusal(write(old, new)))[:1] == [place]
    assert len(refusal(write(old, new))) == (2 if "hidden: .nan" in new else 1)


def test_first_of_two_equal_keys_is_checked_where_it_stands(write: Write) -> None:
    assert starts(refusal(write("seeds: 3", "seeds: 0\nseeds: [1, x]"))) == ["c.yaml:7:8: seeds", "c.yaml:8:1: seeds"]


def test_fault_of_an_arm_is_shown_beside_one_of_the_yaml(write: Write) -> None:
    path = write("kind: mlp, hidden: [8]", "kind: cnn", "seeds: 3", "seeds: &s 3")
    assert starts(refusal(path)) == ["c.yaml:3:15: model.kind", "c.yaml:7:8: seeds"]


def test_fault_of_an_override_is_shown_where_the_file_has_refused_yaml(write: Write) -> None:
    assert starts(refusal(write("epochs: 5", "epochs: .nan"), "training.epochs=x")) == [
        "c.yaml:4:64: training.epochs",
        "override 'training.epochs=x': training.epochs",
    ]


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
        ("training.epochs=x", "training.epochs: expected an integer, found the text 'x'"),
        ("training.epochs='7'", "training.epochs: expected an integer, found the text '7'"),
        ("training=5", "training: expected a mapping (key: value), found 5"),
        ("training.optimizer=adam", "training.optimizer: expected a mapping with a kind, found the text 'adam'"),
        ("name=5", "name: expected a text, found 5"),
        ("store.weights=no", "store.weights: expected true or false, found the text 'no'"),
        ("techniques.droput.rate=0.4", "techniques.droput: expected the name of a technique (batch_norm, batch_size, "
         "dropout, early_stopping, gaussian_noise, l1, l1_l2, l2, lr_schedule, normalize_inputs), found 'droput' "
         "(did you mean 'dropout'?)"),
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


@pytest.mark.parametrize(
    ("old", "new", "words", "message"),
    [
        ("rate: 0.2", "rate: 0.2", ["techniques.dropout.retention=0.5"],
         "techniques.dropout: expected either rate or retention (= 1 − rate), found both: leave one out"),
        ("rate: 0.2", "rate: 0.2", ["techniques.dropout.rate=[0.2, 0.2]"],
         "techniques.dropout.rate.1: expected different values to sweep, found 0.2 twice"),
        ("train: 60", "train: 0.5", ["data.split.test=0.7", "seeds=5"],
         "data.split: expected fractions that add up to at most 1, found 1.2"),
        ("test: 20", "test: 20, order: given", ["data.split.resplit=true"],
         "data.split: expected order: shuffled with resplit: true, found order: given"),
        ("dropout: {rate: 0.2}", "batch_norm: {}", ["training.batch_size=1", "seeds=5"],
         "techniques.batch_norm: batch normalisation of 'hidden_1' needs more than one row per batch: with one row it "
         "outputs a constant; raise training.batch_size"),
        ("dropout: {rate: 0.2}", "early_stopping: {}", ["data.split.validation=null"],
         "techniques.early_stopping.monitor: cannot monitor val_loss: the split has no validation part; add "
         "data.split.validation (rows, a fraction, or test)"),
        ("dropout: {rate: 0.2}", "l2: {}", ["techniques.lr_schedule.factor=0.5"],
         "techniques.lr_schedule.kind: required key is missing; expected plateau: cut the rate when the monitored "
         "metric stalls"),
        ("learning_rate: 0.1", "weight_decay: null", ["training.optimizer.kind=adamw"],
         "training.optimizer.weight_decay: expected a number, found nothing"),
        ("kind: make_circles, n_samples: 100", "kind: digits", ["data.kind=make_moons"],
         "model.kind: expected inputs with height × width × channels for the model cnn, found the dataset make_moons "
         "with columns"),
    ],
)  # fmt: skip
def test_fault_that_an_override_brings_out_elsewhere_is_shown_at_the_override(
    write: Write, old: str, new: str, words: list[str], message: str
) -> None:
    path = write(old, new, *(["kind: mlp, hidden: [8]", "kind: cnn"] if new == "kind: digits" else []))
    assert refusal(path, *words) == [f"override '{words[0]}': {message}"]


def test_fault_that_takes_two_overrides_is_shown_at_one_of_them(write: Write) -> None:
    words = ["data.split.train=0.7", "data.split.test=0.7"]
    assert starts(refusal(write(), *words)) == ["override 'data.split.test=0.7': data.split"]


def test_fault_of_the_file_beside_an_override_is_located_in_the_file(write: Write) -> None:
    path = write("rate: 0.2", "rate: 0.2, retention: 0.5", "kind: make_circles, ", "")
    assert starts(refusal(path, "data.n_samples=50", "techniques.dropout.rate=0.4")) == [
        "c.yaml:2:7: data",
        "c.yaml:6:12: techniques.dropout",
    ]


def test_fault_of_the_data_is_shown_at_the_override_that_sets_its_place(write: Write) -> None:
    source = load(write(), ["data.split.train=0.7"]).source
    (fault,) = source.located([Fault("too few rows", ("data", "split", "train"))])
    (other,) = source.located([Fault("too few rows", ("data", "split", "test"))])
    (whole,) = source.located([Fault("too few rows", ("data", "split"))])
    assert (fault.file, whole.file) == ("override 'data.split.train=0.7'",) * 2
    assert (other.file, other.line) == ("c.yaml", 2)


def test_fault_of_the_data_names_every_override_of_them(write: Write) -> None:
    fault = Fault("too few rows", ("data", "split"))
    (in_file,) = load(write(), ["data.n_samples=150", "data.noise=0.1", "seeds=2"]).source.located([fault])
    (at_one,) = load(write(), ["data.n_samples=150", "data.split.test=30"]).source.located([fault])
    assert str(in_file) == (
        "c.yaml:2:51: data.split: too few rows (with override 'data.n_samples=150', override 'data.noise=0.1')"
    )
    assert str(at_one) == (
        "override 'data.split.test=30': data.split: too few rows (with override 'data.n_samples=150')"
    )


@pytest.mark.parametrize("words", [["data.kind=digits"], ["data.kind=digits", "data.split.train=50"]])
def test_other_dataset_is_chosen_by_an_override(write: Write, words: list[str]) -> None:
    assert load(write(), words).experiment.data.parameters == {}


@pytest.mark.parametrize("step", [1, -1])
def test_other_optimizer_with_a_parameter_is_chosen_by_overrides(write: Write, step: int) -> None:
    words = ["training.optimizer.kind=sgd", "training.optimizer.momentum=0.9"]
    optimizer = load(write("kind: sgd, learning_rate: 0.1", "kind: adam"), words[::step]).experiment.training.optimizer
    assert (optimizer["kind"], optimizer["momentum"]) == ("sgd", 0.9)


def test_technique_that_the_file_has_not_is_added_by_an_override(write: Write) -> None:
    loaded = load(write(), ["techniques.l2.l2=[0.1, 0.2]"])
    assert [arm.id for arm in loaded.arms] == ["control", "dropout", "l2-l2-0.1", "l2-l2-0.2"]


def test_override_under_a_split_that_the_file_leaves_out(write: Write) -> None:
    split = load(write(", split: {train: 60, validation: 20, test: 20}", ""), ["data.split.resplit=true"])
    assert (split.experiment.data.split.train, split.experiment.data.split.resplit) == (0.6, True)


def test_fault_of_the_file_is_not_blamed_on_an_override_beside_it(write: Write) -> None:
    assert starts(refusal(write(", test: 20", ""), "seeds=5", "data.split.train=50")) == [
        "c.yaml:2:51: data.split.test"
    ]


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
    assert f"#   bdl run configs/{path.name}\n" in header
    assert "\n# Expect: " in header


def test_there_is_a_config_for_each_of_the_lessons_two_to_seven() -> None:
    assert [path.stem[:8] for path in CONFIGS if path.stem.startswith("lesson")] == [
        f"lesson0{number}" for number in range(2, 8)
    ]


def test_fault_is_shown_at_the_override_that_makes_it_alone(write: Write) -> None:
    path = write("seeds: 3", "arms: {a: {l2: {}, l1: {}}}")
    words = ["techniques={dropout: {}}", "base.l2.l2=1"]
    for order in (words, words[::-1]):
        assert [line for line in refusal(path, *order) if "arms.a" in line] == [
            "override 'base.l2.l2=1': arms.a: l2: expected one l2 penalty per layer, found a second one on 'hidden_1': "
            "remove one of them"
        ]
