import contextlib
import json
import math
import pathlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from betterdl_cli.errors import UsageError
from betterdl_cli.history import History
from betterdl_cli.readers import base
from betterdl_cli.readers.base import READERS, read_history


@pytest.fixture
def read(tmp_path: pathlib.Path) -> "Reading":
    return Reading(tmp_path / "h.txt")


class Reading:
    """Writes a file and reads it as a history."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __call__(self, text: str) -> dict[str, list[float | None]]:
        return self.bytes(text.encode())

    def bytes(self, content: bytes) -> dict[str, list[float | None]]:
        self.path.write_bytes(content)
        return read_history(self.path).to_mapping()

    def fault(self, text: str) -> str:
        """The message without the name of the file."""
        with pytest.raises(UsageError) as caught:
            self(text)
        assert str(caught.value).startswith(f"{self.path}: ")
        return str(caught.value).removeprefix(f"{self.path}: ")


def test_every_file_of_the_folder_is_a_reader() -> None:
    assert READERS.names == ("columns", "keras_json")
    assert [reader.__name__ for _, reader in READERS] == ["Columns", "KerasJson"]


# ---- Keras's History.history as JSON ----


def test_a_keras_history(read: Reading) -> None:
    assert read('{"loss": [0.7, 0.5], "val_loss": [0.8, 0.6]}') == {"loss": [0.7, 0.5], "val_loss": [0.8, 0.6]}


def test_our_own_null_is_not_finite(read: Reading) -> None:
    read('{"loss": [0.7, null]}')
    assert math.isnan(read_history(read.path)["loss"][1])


def test_what_python_writes_for_numbers_that_are_not_finite_is_read(read: Reading) -> None:
    read('{"loss": [NaN, Infinity, -Infinity, 1e999]}')
    loss = read_history(read.path)["loss"]
    assert math.isnan(loss[0])
    assert loss[1:].tolist() == [math.inf, -math.inf, math.inf]


def test_integers_of_any_size_are_numbers(read: Reading) -> None:
    read('{"loss": [1, 1' + "0" * 400 + "]}")
    assert read_history(read.path)["loss"].tolist() == [1.0, math.inf]


def test_old_names_become_the_new_ones(read: Reading) -> None:
    found = read('{"loss": [1.0], "acc": [0.5], "val_acc": [0.4], "lr": [0.1]}')
    assert found == {"loss": [1.0], "accuracy": [0.5], "val_accuracy": [0.4], "learning_rate": [0.1]}


def test_a_history_within_its_callback_is_found(read: Reading) -> None:
    assert read('{"history": {"loss": [0.5]}, "epoch": [0], "params": {"verbose": 1}}') == {"loss": [0.5]}


def test_epoch_numbers_are_no_metric(read: Reading) -> None:
    assert read('{"epoch": [0, 1], "loss": [0.5, 0.4], "name": "x"}') == {"loss": [0.5, 0.4]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"loss": [1, 2], "acc": [1]}', "expected equally long series, found loss: 2, accuracy: 1"),
        ('{"loss": ["a"]}', "expected numbers in 'loss', found 'a'"),
        ('{"loss": [true]}', "expected numbers in 'loss', found True"),
        ('{"loss": [[1]]}', "expected numbers in 'loss', found [1.0]"),
        ('{"acc": [1], "accuracy": [2]}', "expected different metrics, found 'accuracy' twice"),
        ('{"loss": [1], "loss": [2]}', "expected different names in the JSON, found 'loss' twice"),
        ('{"loss": []}', "expected a history with at least one epoch, found none"),
        ("{}", "expected lists of numbers per metric ({'loss': [...]}), found none in this JSON"),
        ('{"loss": 1}', "expected lists of numbers per metric"),
        ('{"loss": [1,', "expected JSON, found a fault in it: "),
        ("{" + '"a":[' * 100_000, "expected JSON, found a fault in it: "),
    ],
)
def test_json_that_is_no_history(read: Reading, text: str, words: str) -> None:
    assert read.fault(text).startswith(words)


# ---- tables ----


def test_a_keras_csv_log(read: Reading) -> None:
    found = read("epoch,accuracy,loss,val_loss\n0,0.5,0.7,0.71\n1,0.6,0.6,0.65\n")
    assert found == {"accuracy": [0.5, 0.6], "loss": [0.7, 0.6], "val_loss": [0.71, 0.65]}


def test_a_data_frame_with_its_index(read: Reading) -> None:
    assert read(",loss,acc\n0,0.7,0.5\n1,0.6,0.6\n") == {"loss": [0.7, 0.6], "accuracy": [0.5, 0.6]}
    assert read("Unnamed: 0,loss\n0,0.7\n") == {"loss": [0.7]}


@pytest.mark.parametrize("mark", ["\t", ";", ", "])
def test_other_separators_and_padding(read: Reading, mark: str) -> None:
    assert read(f"epoch{mark}loss \n0{mark} 0.5\n1{mark}0.25 \n") == {"loss": [0.5, 0.25]}


@pytest.mark.parametrize("missing", ["NA", "nan", "", "None", "null"])
def test_missing_cells_are_not_recorded(read: Reading, missing: str) -> None:
    assert read(f"loss,val_loss\n0.5,{missing}\n0.4,0.6\n") == {"loss": [0.5, 0.4], "val_loss": [None, 0.6]}


def test_windows_files_are_read(read: Reading) -> None:
    assert read.bytes(b"\xef\xbb\xbfepoch,loss\r\n0,0.5\r\n\r\n1,0.4\r\n") == {"loss": [0.5, 0.4]}


def test_an_epoch_column_of_zeros_is_one_run(read: Reading) -> None:
    assert read("epoch,loss\n0,0.5\n0,0.4\n0,0.3\n") == {"loss": [0.5, 0.4, 0.3]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "epoch,loss\n0,0.5\n1,0.4\n0,0.6\n",
            "expected one run, found the epochs starting again at row 4: split the file",
        ),
        ("loss,acc\n0.5\n", "row 2: expected 2 cells, found 1"),
        ("loss,acc\n0.5,0.1,3\n", "row 2: expected 2 cells, found 3"),
        ("loss,acc\n0.5,x\n", "row 2, column 'acc': expected a number, found 'x'"),
        ("loss,loss\n1,2\n", "expected different column names, found 'loss' twice"),
        ("loss,acc\n", "expected a history with at least one epoch, found none"),
        (
            "loss,acc\n" + "1" * 200_000 + ",2\n",
            "expected a table of short cells, found a fault in it: field larger than",
        ),
    ],
)
def test_a_table_that_is_no_history(read: Reading, text: str, words: str) -> None:
    assert read.fault(text).startswith(words)


# ---- files of other kinds ----


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "nothing in it"),
        (" \n", "nothing in it"),
        ("Traceback (most recent call last):\n  File", "something else"),
        ("a,b\n1,2\n", "something else"),
        ("[1, 2]", "something else"),
    ],
)
def test_files_that_are_no_history_are_told_what_can_be_read(read: Reading, text: str, found: str) -> None:
    first, *known = read.fault(text).splitlines()
    assert first == f"expected a training history, found {found}. What can be read:"
    assert [line.split(":")[0] for line in known] == [
        "  A table with one row per epoch and one column per metric",
        "  Keras History.history as JSON",
    ]


def test_bytes_that_are_no_text(tmp_path: pathlib.Path) -> None:
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n\xff\xfe")
    with pytest.raises(UsageError, match=r"model\.h5: expected a history as text \(UTF-8\), found other bytes"):
        read_history(tmp_path / "model.h5")


def test_a_missing_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=r"h\.csv: cannot read it: No such file or directory"):
        read_history(tmp_path / "h.csv")


def test_a_file_too_large_to_be_a_history(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_BYTES", 1 << 20)
    (tmp_path / "h.csv").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(UsageError, match="expected a history of at most 1 MiB, found a larger file"):
        read_history(tmp_path / "h.csv")


# ---- anything at all ----

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = st.one_of(st.floats(), st.integers(), st.none())
CELLS = st.one_of(st.text(max_size=5), st.floats().map(str), st.sampled_from(["", "NA", '"', "1e999", "\x00"]))


def read_or_refuse(path: pathlib.Path, content: bytes) -> History | None:
    path.write_bytes(content)
    with contextlib.suppress(UsageError):
        return read_history(path)
    return None


@QUIET
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path: pathlib.Path, content: bytes) -> None:
    read_or_refuse(tmp_path / "h", content)


@QUIET
@given(start=st.sampled_from(["", "loss,", "loss;acc\n", "epoch,loss\n0,", '{"loss": ', "{", "["]), rest=st.text())
def test_any_text_is_read_or_refused(tmp_path: pathlib.Path, start: str, rest: str) -> None:
    read_or_refuse(tmp_path / "h", (start + rest).encode("utf-8", "surrogatepass"))


@QUIET
@given(rows=st.lists(st.lists(CELLS, min_size=2, max_size=3), max_size=4), mark=st.sampled_from([",", "\t", ";"]))
def test_any_table_is_read_or_refused(tmp_path: pathlib.Path, rows: list[list[str]], mark: str) -> None:
    text = "\n".join(mark.join(row) for row in [["loss", "val_loss"], *rows])
    history = read_or_refuse(tmp_path / "h", text.encode("utf-8", "surrogatepass"))
    assert history is None or history.epochs >= 1


@QUIET
@given(
    columns=st.dictionaries(
        st.sampled_from(["loss", "acc", "val_loss", "lr", "epoch", "history", " loss "]),
        st.one_of(st.lists(NUMBERS, max_size=3), st.text(max_size=3), st.dictionaries(st.text(max_size=3), NUMBERS)),
    )
)
def test_any_json_is_read_or_refused(tmp_path: pathlib.Path, columns: dict[str, object]) -> None:
    history = read_or_refuse(tmp_path / "h", json.dumps(columns).encode())
    assert history is None or history.epochs >= 1


@QUIET
@given(
    st.integers(min_value=1, max_value=5).flatmap(
        lambda epochs: st.dictionaries(
            st.sampled_from(["loss", "val_loss", "accuracy", "my metric"]),
            st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=epochs, max_size=epochs),
            min_size=1,
        )
    )
)
def test_a_history_comes_back_as_it_was(tmp_path: pathlib.Path, metrics: dict[str, list[float]]) -> None:
    history = read_or_refuse(tmp_path / "h", json.dumps(metrics).encode())
    assert history is not None
    assert history.to_mapping() == metrics
