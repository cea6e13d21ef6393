"""Units run the same here, in processes and on Ray, and an error stops the rest."""

import importlib.util
from functools import partial
from pathlib import Path

import pytest

from xllms.errors import XllmsError
from xllms.executors import Executor, run_units


def writer(folder: Path, bad: int) -> "Writer":
    return Writer(folder, bad)


class Writer:
    def __init__(self, folder: Path, bad: int) -> None:
        self.folder, self.bad = folder, bad

    def __call__(self, unit: int) -> None:
        if unit == self.bad:
            raise XllmsError(f"unit {unit} cannot be done")
        (self.folder / str(unit)).write_text(str(unit**2))


EXECUTORS = [
    "here",
    "processes",
    pytest.param(
        "ray", marks=pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
    ),
]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_every_unit_is_run_and_named_once(executor: Executor, tmp_path: Path) -> None:
    done = list(run_units(partial(writer, tmp_path, -1), range(9), executor, 2))
    assert sorted(done) == list(range(9))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {str(i): str(i**2) for i in range(9)}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_error_reaches_the_caller_in_its_words_and_what_was_done_stays(executor: Executor, tmp_path: Path) -> None:
    named = []
    with pytest.raises(XllmsError, match=r"^unit 5 cannot be done$"):
        for unit in run_units(partial(writer, tmp_path, 5), range(40), executor, 2):
            named.append(str(unit))
    done = {path.name for path in tmp_path.iterdir()}
    assert named
    assert set(named) <= done
    assert len(done) < 30
