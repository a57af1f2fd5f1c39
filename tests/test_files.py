import errno
import json
import os
import pathlib
from typing import IO, Any

import numpy as np
import pytest

from betterdl_cli import files
from betterdl_cli.files import WriteError


def names(folder: pathlib.Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_a_file_is_written_with_its_folders(tmp_path: pathlib.Path) -> None:
    files.write_text(tmp_path / "a" / "b" / "c.txt", "naïve\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "naïve\n".encode()
    assert names(tmp_path / "a" / "b") == ["c.txt"]


def fail_after_half(stream: IO[bytes]) -> None:
    stream.write(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_was_there_stays_when_the_disk_is_full_while_writing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"before")
    with pytest.raises(WriteError) as caught:
        files.write(path, fail_after_half)
    assert str(caught.value) == f"cannot write {path}: No space left on device"
    assert caught.value.exit_code == 1
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["f"]


def test_what_was_there_stays_when_the_disk_is_full_while_flushing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device"):
        files.write_text(tmp_path / "f", "text")
    assert names(tmp_path) == []


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ZeroDivisionError])
def test_nothing_stays_behind_after_any_other_fault(tmp_path: pathlib.Path, fault: type[BaseException]) -> None:
    def fill(stream: IO[bytes]) -> None:
        stream.write(b"half")
        raise fault

    with pytest.raises(fault):
        files.write(tmp_path / "f", fill)
    assert names(tmp_path) == []


def test_the_text_is_on_the_disk_before_the_file_appears(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    flush = os.fsync

    def record(descriptor: int) -> None:
        seen.append((os.fstat(descriptor).st_size, (tmp_path / "f").exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    files.write_text(tmp_path / "f", "text")
    assert seen == [(4, False)]


def test_a_file_in_place_of_the_folder_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(WriteError) as caught:
        files.write_text(tmp_path / "f" / "g", "")
    assert str(caught.value) == f"cannot write {tmp_path}/f/g: expected a directory, found the file {tmp_path}/f"


def test_a_place_where_nothing_can_be_written_is_named() -> None:
    with pytest.raises(WriteError, match=r"cannot write /dev/null/x/y: Not a directory"):
        files.write_text(pathlib.Path("/dev/null/x/y"), "")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_never_written_as_json(tmp_path: pathlib.Path, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "f", {"a": number})
    assert names(tmp_path) == []


def test_json_comes_back(tmp_path: pathlib.Path) -> None:
    plain = {"a": [1, 2.5, None, "ü"], "b": {}}
    files.write_json(tmp_path / "f", plain)
    assert files.read_json(tmp_path / "f") == plain
    assert "ü" in (tmp_path / "f").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "[" * 100_000, '{"a": 1}x', "\x00"])
def test_anything_but_strict_json_is_a_value_error(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        files.read_json(tmp_path / "f")


def test_bytes_that_are_no_text_are_a_value_error(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(b"\xff\xfe{")
    with pytest.raises(ValueError, match="utf-8"):
        files.read_json(tmp_path / "f")


def test_arrays_are_the_same_bytes_at_any_time(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"layer/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "labels": np.array([1, 2], np.int32)}
    files.write_arrays(tmp_path / "a.npz", arrays)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    files.write_arrays(tmp_path / "b.npz", arrays)
    assert files.digest(tmp_path / "a.npz") == files.digest(tmp_path / "b.npz")
    with np.load(tmp_path / "a.npz") as found:
        assert {name: found[name].tolist() for name in found} == {name: a.tolist() for name, a in arrays.items()}
        assert found["layer/kernel"].dtype == np.float32


def test_objects_are_never_pickled(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="pickle"):
        files.write_arrays(tmp_path / "a.npz", {"a": np.array([{}], dtype=object)})
    assert names(tmp_path) == []


def test_the_digest_is_sha256(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert files.digest(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_lines_end_alike_everywhere(tmp_path: pathlib.Path) -> None:
    files.write_json(tmp_path / "f", [1])
    assert (tmp_path / "f").read_bytes() == b"[\n 1\n]\n"
    assert json.loads((tmp_path / "f").read_text()) == [1]
