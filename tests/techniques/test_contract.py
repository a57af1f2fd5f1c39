"""What every technique, dataset and model must be, found by themselves: a new file is tested by being there."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest

from betterdl_cli.config import yaml12
from betterdl_cli.config.reading import read_experiment
from betterdl_cli.datasets.base import DATASETS
from betterdl_cli.errors import Fault
from betterdl_cli.expand import expand
from betterdl_cli.models.base import MODELS
from betterdl_cli.optimizers import OPTIMIZERS
from betterdl_cli.parameters import check
from betterdl_cli.registry import Card
from betterdl_cli.report.cards import card_document, card_text
from betterdl_cli.spec import ArmSpec, DataSpec, Frozen, TrainingSpec, differences
from betterdl_cli.tasks import TASKS
from betterdl_cli.techniques.base import AREAS, CARD_SECTIONS, TECHNIQUES

CATALOGUE = [
    pytest.param(registry, name, id=f"{registry.what}-{name}")
    for registry in (TECHNIQUES, DATASETS, MODELS)
    for name in registry.names
]
CHECKED = [
    *(pytest.param(cls, cls.example, id=name) for registry in (TECHNIQUES, DATASETS, MODELS) for name, cls in registry),
    *(pytest.param(cls, {}, id=name) for name, cls in OPTIMIZERS.items()),
]
SECTIONS = {"technique": set(CARD_SECTIONS), "dataset": {"Source"}, "model": {"Source"}}


def made(cls: type[Frozen], given: dict[str, Any]) -> Any:
    return cls.model_validate_json(json.dumps(given))


def smallest_arms() -> Iterator[ArmSpec]:
    """The smallest arm of every model, on data it takes."""
    for _, model in MODELS:
        for rank in model.ranks:
            data = DataSpec(kind={1: "make_circles", 3: "digits"}.get(rank, "digits"))
            optimizer = {"kind": "sgd", **OPTIMIZERS["sgd"]().model_dump()}
            layers = made(model, model.example).layers(rank)
            yield ArmSpec(data=data, layers=layers, training=TrainingSpec(optimizer=optimizer))


# ---- techniques ----


@pytest.mark.parametrize("name", TECHNIQUES.names)
def test_example_changes_the_arm_and_leaves_its_input_alone(name: str) -> None:
    cls = TECHNIQUES.get(name)
    for arm in smallest_arms():
        before = json.dumps(arm.to_json())
        changed = made(cls, cls.example).apply(arm)
        assert changed != arm
        assert differences(arm, changed)
        assert json.dumps(arm.to_json()) == before


@pytest.mark.parametrize("name", TECHNIQUES.names)
def test_changed_arm_survives_json_with_the_same_digest(name: str) -> None:
    cls = TECHNIQUES.get(name)
    for arm in smallest_arms():
        changed = made(cls, cls.example).apply(arm)
        again = ArmSpec.from_json(json.loads(json.dumps(changed.to_json())))
        assert again == changed
        assert again.digest == changed.digest


@pytest.mark.parametrize("name", TECHNIQUES.names)
def test_same_technique_twice_gives_the_same_arm(name: str) -> None:
    cls = TECHNIQUES.get(name)
    arm = next(smallest_arms())
    assert made(cls, cls.example).apply(arm) == made(cls, cls.example).apply(arm)


@pytest.mark.parametrize("name", TECHNIQUES.names)
def test_names_of_layers_stay_different_and_the_output_stays_last(name: str) -> None:
    cls = TECHNIQUES.get(name)
    for arm in smallest_arms():
        layers = made(cls, cls.example).apply(arm).layers
        assert len({layer.name for layer in layers}) == len(layers)
        assert layers[-1].kind == "Output"
        assert [layer.name for layer in layers if layer.hidden] == [layer.name for layer in arm.hidden_layers]


@pytest.mark.parametrize("name", TECHNIQUES.names)
def test_example_in_a_config_survives_yaml(plain: dict[str, Any], name: str) -> None:
    text = yaml12.dump({**plain, "techniques": {name: TECHNIQUES.get(name).example}})
    experiment = read_experiment(yaml12.parse(text, "c.yaml").data)
    again = read_experiment(yaml12.parse(yaml12.dump(experiment.resolved), "again.yaml").data)
    assert again == experiment
    assert [arm.id for arm in expand(again)] == ["control", name]


@pytest.mark.parametrize("name", TECHNIQUES.names)
def test_area_is_one_of_the_three(name: str) -> None:
    assert TECHNIQUES.get(name).area in AREAS


# ---- datasets and models in a config ----


@pytest.mark.parametrize("name", DATASETS.names)
def test_dataset_in_a_config_survives_yaml(plain: dict[str, Any], name: str) -> None:
    cls = DATASETS.get(name)
    experiment = read_experiment({**plain, "data": {"kind": name, **cls.example}})
    again = read_experiment(yaml12.parse(yaml12.dump(experiment.resolved), "again.yaml").data)
    assert again == experiment
    assert cls.task in TASKS
    assert cls.rank in (1, 2, 3)


@pytest.mark.parametrize("name", MODELS.names)
def test_model_in_a_config_survives_yaml(plain: dict[str, Any], name: str) -> None:
    experiment = read_experiment({**plain, "model": {"kind": name, **MODELS.get(name).example}})
    again = read_experiment(yaml12.parse(yaml12.dump(experiment.resolved), "again.yaml").data)
    assert again == experiment


@pytest.mark.parametrize("name", MODELS.names)
def test_layers_of_a_model_have_different_names_a_hidden_one_and_the_output_last(name: str) -> None:
    cls = MODELS.get(name)
    for rank in cls.ranks:
        layers = made(cls, cls.example).layers(rank)
        assert len({layer.name for layer in layers}) == len(layers)
        assert any(layer.hidden and layer.block == layer.name for layer in layers)
        assert [layer.kind for layer in layers].index("Output") == len(layers) - 1


# ---- cards ----


@pytest.mark.parametrize(("registry", "name"), CATALOGUE)
def test_card_has_a_summary_and_its_sections(registry: Any, name: str) -> None:
    card = Card.of(registry.get(name))
    assert card.summary.endswith(".")
    assert set(card.sections) == SECTIONS[registry.what]
    assert all(card.sections.values())


@pytest.mark.parametrize(("registry", "name"), CATALOGUE)
def test_card_describes_every_parameter(registry: Any, name: str) -> None:
    parameters = card_document(registry, name)["parameters"]
    assert [item["name"] for item in parameters] == list(registry.get(name).model_fields)
    assert all(item["description"] and item["type"] for item in parameters)


@pytest.mark.parametrize(("registry", "name"), CATALOGUE)
def test_card_is_json_and_text(registry: Any, name: str) -> None:
    document = card_document(registry, name)
    assert json.loads(json.dumps(document)) == document
    text = card_text(document)
    assert text.startswith(f"{name} (")
    assert all(title in text.split("\n") for title in SECTIONS[registry.what])
    assert max(len(line) for line in text.split("\n")) <= 100


# ---- parameters ----


def faults_of(cls: type[Frozen], given: dict[str, Any]) -> list[Fault]:
    faults: list[Fault] = []
    assert (check(cls, given, (), faults) is None) == bool(faults)
    return faults


def wrong_values(cls: type[Frozen], name: str) -> Iterator[Any]:
    """Values of a wrong type, and those just outside of the range."""
    field = cls.model_fields[name]
    yield {"a": 1} if name != "learning_rate" else "a"
    types = set(plain_types(field.annotation))
    if str in types:
        yield from (5, True)
    elif bool in types:
        yield from (0, "true")
    elif int in types or float in types:
        yield from ("1", True, math.nan, math.inf, -math.inf)
    for limit in field.metadata:
        for sign, outside in (("gt", 0), ("ge", -1), ("lt", 0), ("le", 1)):
            if hasattr(limit, sign):
                yield getattr(limit, sign) + outside


def plain_types(annotation: Any) -> Iterator[type]:
    origin = get_origin(annotation)
    if origin is Literal:
        yield str
    elif origin is Annotated:
        yield from plain_types(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for item in get_args(annotation):
            yield from plain_types(item)
    else:
        yield origin or annotation


@pytest.mark.parametrize(("cls", "example"), CHECKED)
def test_example_is_valid(cls: type[Frozen], example: dict[str, Any]) -> None:
    assert faults_of(cls, example) == []


@pytest.mark.parametrize(("cls", "example"), CHECKED)
def test_wrong_value_of_every_parameter_is_refused_with_its_place(cls: type[Frozen], example: dict[str, Any]) -> None:
    others = example if any(field.is_required() for field in cls.model_fields.values()) else {}
    for name in cls.model_fields:
        for value in wrong_values(cls, name):
            faults = faults_of(cls, {**others, name: value})
            assert [fault.path[:1] for fault in faults] == [(name,)], f"{name}: {value!r}"
            assert "expected" in faults[0].message
            assert "found" in faults[0].message


@pytest.mark.parametrize(("cls", "example"), CHECKED)
def test_unknown_parameter_is_refused(cls: type[Frozen], example: dict[str, Any]) -> None:
    (fault,) = faults_of(cls, {**example, "unheard_of": 1})
    assert fault.path == ("unheard_of",)
    assert fault.message.startswith("unknown key; ")
