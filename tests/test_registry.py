from __future__ import annotations

import pathlib
import sys
import textwrap

import pytest

from betterdl_cli.datasets.base import DATASETS
from betterdl_cli.models.base import MODELS
from betterdl_cli.registry import Card, Registry, UnknownKindError
from betterdl_cli.spec import Frozen
from betterdl_cli.techniques.base import TECHNIQUES


@pytest.fixture
def shelf(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Registry[Frozen]:
    """A folder of leaves that lie under ``tmp_path / "shelf"``."""
    (tmp_path / "shelf").mkdir()
    files = {
        "__init__": "",
        "base": "raise RuntimeError('the base is no leaf')",
        "_shared": "raise RuntimeError('no leaf either')",
        "pear": '"""A pear."""\nfrom betterdl_cli.spec import Frozen\nclass Pear(Frozen): ...',
        "apple": "from betterdl_cli.spec import Frozen\nclass Apple(Frozen): ...",
        "two": "from betterdl_cli.spec import Frozen\nclass A(Frozen): ...\nclass B(Frozen): ...",
        "none": "from betterdl_cli.spec import Frozen",
        "broken": "raise RuntimeError('imported')",
    }
    for name, text in files.items():
        (tmp_path / "shelf" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "shelf"]:
        monkeypatch.delitem(sys.modules, name)
    return Registry(package="shelf", base=Frozen, what="fruit")


def test_names_are_the_files_of_the_folder_without_importing_them(shelf: Registry[Frozen]) -> None:
    assert shelf.names == ("apple", "broken", "none", "pear", "two")
    assert "shelf.broken" not in sys.modules


def test_only_the_leaf_asked_for_is_imported(shelf: Registry[Frozen]) -> None:
    assert shelf.get("pear").__name__ == "Pear"
    assert "shelf.apple" not in sys.modules


@pytest.mark.parametrize(("name", "found"), [("two", 2), ("none", 0)])
def test_file_with_another_number_of_leaves_than_one_is_refused(shelf: Registry[Frozen], name: str, found: int) -> None:
    with pytest.raises(TypeError, match=f"shelf.{name}: expected one Frozen class, found {found}"):
        shelf.get(name)


def test_unknown_name_says_what_there_is(shelf: Registry[Frozen]) -> None:
    with pytest.raises(UnknownKindError) as caught:
        shelf.get("aple")
    assert str(caught.value) == "expected the name of a fruit (apple, broken, none, pear, two), found 'aple'"
    assert caught.value.suggestion == "apple"


@pytest.mark.parametrize("name", ["base", "_shared", "", "../pear", "shelf.pear", "os"])
def test_what_is_no_leaf_cannot_be_had(shelf: Registry[Frozen], name: str) -> None:
    with pytest.raises(UnknownKindError):
        shelf.get(name)


def test_long_unknown_name_is_shortened() -> None:
    assert str(UnknownKindError("optimizer", "x" * 1000, ("sgd",))) == (
        f"expected the name of an optimizer (sgd), found '{'x' * 39}…'"
    )


def test_the_catalogue() -> None:
    assert set(TECHNIQUES.names) >= {
        *("batch_norm", "batch_size", "dropout", "early_stopping", "gaussian_noise"),
        *("l1", "l1_l2", "l2", "lr_schedule", "normalize_inputs"),
    }
    assert set(DATASETS.names) >= {"breast_cancer", "digits", "make_circles", "make_moons"}
    assert set(MODELS.names) >= {"cnn", "mlp"}


def test_card_is_read_from_the_docstring_of_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaf(Frozen):
        pass

    text = """A sentence that
    goes on: here.

    When it helps:
        Often, see
            the note.

    Reference:
        Me 2020.
    """
    monkeypatch.setattr(sys.modules[__name__], "__doc__", textwrap.dedent(text))
    assert Card.of(Leaf) == Card(
        "A sentence that goes on: here.", {"When it helps": "Often, see\n    the note.", "Reference": "Me 2020."}
    )


def test_module_without_a_docstring_has_an_empty_card(shelf: Registry[Frozen]) -> None:
    assert Card.of(shelf.get("apple")) == Card("", {})
