"""The hub as far as it can be had here: `datasets` on a local folder, and the line for a hub out of reach."""

from pathlib import Path

import pytest

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.formats import read_instructions, write_instructions
from xllms.formats.hub import push, read_hub

pytest.importorskip("datasets")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    demo = shared_data("llamafactory_demo", "alpaca_en_demo.json")
    folder = tmp_path / "dataset"
    write_instructions(folder / "train.parquet", read_instructions(demo, language="en"))
    return folder


def test_rows_of_a_data_set_become_records(dataset: Path) -> None:
    records = list(read_hub(str(dataset)))
    assert records == list(read_instructions(dataset / "train.parquet"))
    assert len(records) > 900


def test_columns_of_other_names(dataset: Path) -> None:
    columns = {"instruction": "output", "output": "instruction"}
    turned = list(read_hub(str(dataset), columns=columns, form="alpaca", language="sw"))
    straight = list(read_instructions(dataset / "train.parquet"))
    assert [(one.instruction, one.output) for one in turned] == [(one.output, one.instruction) for one in straight]
    with pytest.raises(InputError, match="no column `query`; there are id, instruction"):
        list(read_hub(str(dataset), columns={"instruction": "query"}))


def test_a_hub_out_of_reach_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="read them from a local folder") as caught:
        list(read_hub("nobody/nothing-of-this-name"))
    assert "\n" not in str(caught.value)
    (tmp_path / "README.md").write_text("x")
    with pytest.raises(InputError, match=r"nobody/nothing: .*send again"):
        push(tmp_path, "nobody/nothing")
    with pytest.raises(InputError, match="no folder with files"):
        push(tmp_path / "none", "nobody/nothing")
