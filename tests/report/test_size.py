"""A page of every language stays a file that can be mailed, and is the same each time."""

import json
import shutil
from pathlib import Path

import pytest
from tests.report.synthetic import make_run

from xllms.report import build

TEN = ("facts", *(f"facts.{number}" for number in range(1, 10)))


@pytest.mark.slow
def test_a_hundred_languages_in_ten_tables_of_three_models_are_five_megabytes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ("facts",), items=6)
    path = run / "evaluation" / "scores.json"
    scores = json.loads(path.read_text(encoding="utf-8"))
    [table] = scores["benchmarks"].values()
    scores["benchmarks"] = dict.fromkeys(TEN, table)
    path.write_text(json.dumps(scores), encoding="utf-8")
    predictions = run / "evaluation" / "predictions"
    for name in TEN[1:]:
        shutil.copytree(predictions / "facts", predictions / name)
    page = build(run)
    first = page.read_bytes()
    assert first.count(b'class="samples"') == 10 * 101
    assert len(first) < 5_000_000
    assert build(run).read_bytes() == first
