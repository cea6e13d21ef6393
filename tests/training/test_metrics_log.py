"""metrics.jsonl after a resume: nothing twice, nothing of an abandoned run."""

import json
from pathlib import Path

import torch

from xllms.training.metrics_log import LanguageMeans, MetricsLog, means
from xllms.training.objectives import Outcome


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_an_abandoned_run_wrote_past_the_checkpoint_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, 0)
    for step in (1, 2, 3):
        log.write(step, "train", {"loss": float(step)})
    with path.open("a") as file:
        file.write('{"step": 4, "spl')  # killed in the middle of a line
    resumed = MetricsLog(path, 2)
    resumed.write(3, "train", {"loss": 30.0})
    assert [(line["step"], line["loss"]) for line in lines(path)] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_a_validation_computed_again_after_a_resume_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsLog(path, 0).write(4, "validation", {"loss": 1.0})
    MetricsLog(path, 4).write(4, "validation", {"loss": 1.0})
    assert len(lines(path)) == 1


def test_means_are_weighted_by_tokens_and_kept_per_language() -> None:
    figures = LanguageMeans()
    outcome = Outcome(torch.tensor(0.0), 4, loss=torch.tensor([1.0, 3.0]), weight=torch.tensor([3.0, 1.0]))
    figures.add(outcome, ["deu_Latn", "swh_Latn"])
    taken = means([figures.take()])
    assert taken["loss"] == 1.5
    assert taken["n"] == 2
    assert taken["languages"]["swh_Latn"] == {"loss": 3.0, "n": 1}
    assert means([figures.take()]) == {}


def test_a_line_break_of_another_script_in_a_line_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, 0)
    log.write(1, "train", {"note": "a\u2028b\u0085c"})
    log.write(2, "train", {"note": "d"})
    before = path.read_bytes()
    MetricsLog(path, 2)
    assert path.read_bytes() == before
