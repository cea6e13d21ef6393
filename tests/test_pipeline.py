"""The whole pipeline on a tiny model: `kill -9` anywhere, the same command again, the same bytes.

Each stage is killed once: while it has some finished units or a checkpoint, and not all.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import write_recipe
from xllms import pipeline
from xllms.recipe_file import load_recipe

# What a later stage or a reader uses; the rest (timings in manifests, optimiser states) may differ.
DATA = (
    "instructions/*/*.jsonl",
    "sft/adapter/adapter_model.safetensors",
    "sft/metrics.jsonl",
    "feedback/*/*.jsonl",
    "dpo/reference.json",
    "dpo/adapter/adapter_model.safetensors",
    "dpo/metrics.jsonl",
    "evaluation/predictions/*/*/*.parquet",
    "evaluation/scores.json",
)


def contents(run: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(run)): path.read_bytes() for pattern in DATA for path in run.glob(pattern)}
    assert len(found) > 40
    return found


def start(recipe: Path, *more: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "xllms", "run", str(recipe), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def finish(recipe: Path) -> str:
    process = start(recipe)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def kill_when(recipe: Path, ready: Callable[[], bool], not_yet: Path) -> None:
    """Start the run, and kill it as soon as `ready`; it must not have finished the stage by then."""
    process = start(recipe)
    try:
        deadline = time.monotonic() + 200
        while not ready():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "the moment to kill never came"
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not not_yet.exists(), "killed too late to prove anything"


@pytest.fixture(scope="module")
def unbroken(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], str]:
    folder = tmp_path_factory.mktemp("unbroken")
    output = finish(write_recipe(folder, tiny_model_folder))
    return contents(folder / "run"), output


def test_a_run_ends_with_the_table_and_the_report(unbroken: tuple[dict[str, bytes], str]) -> None:
    _, output = unbroken
    assert "chrF++" in output
    assert "report.html" in output.splitlines()[-1]
    for stage in ("instructions", "sft", "feedback", "dpo", "evaluation"):
        assert any(line.startswith(stage) and "done" in line for line in output.splitlines()), output


def test_kill_9_in_every_stage_gives_the_same_bytes(
    unbroken: tuple[dict[str, bytes], str], tiny_model_folder: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, tiny_model_folder)
    run = tmp_path / "run"
    moments = {
        "instructions": lambda: len(list(run.glob("instructions/rejected/*.jsonl"))) >= 2,
        "sft": lambda: bool(list(run.glob("sft/checkpoints/checkpoint-2/complete"))),
        "feedback": lambda: len(list(run.glob("feedback/preferences/*.jsonl"))) >= 1,
        "dpo": lambda: bool(list(run.glob("dpo/checkpoints/checkpoint-4/complete"))),  # the last one
        "evaluation": lambda: bool(list(run.glob("evaluation/predictions/facts/sft/units/*.jsonl"))),
    }
    for stage, ready in moments.items():
        kill_when(recipe, ready, run / stage / "manifest.json")
    finish(recipe)
    want, got = unbroken[0], contents(run)
    assert got.keys() == want.keys()
    differing = [name for name in want if got[name] != want[name]]
    assert differing == []


def test_a_finished_run_does_nothing_again(
    unbroken: tuple[dict[str, bytes], str], tiny_model_folder: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, tiny_model_folder)
    finish(recipe)
    before = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.json*") if "report" not in path.parts
    }
    output = finish(recipe)
    assert "done" not in output  # no stage shows progress
    assert before == {path: path.stat().st_mtime_ns for path in before}

    # A typo with --overwrite is refused, and nothing that was finished is lost.
    process = start(recipe, "--set", "model.name=./no-such-model", "--overwrite")
    refused, _ = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "no such folder" in refused
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert "done" not in finish(recipe)


def test_all_weights_tuned_and_a_ranking_loss_go_through_every_stage(tmp_path: Path, tiny_model_folder: Path) -> None:
    recipe = load_recipe(
        write_recipe(tmp_path, tiny_model_folder),
        [
            *("sft.tuning=full", "sft.learning_rate=1e-3", "dpo.loss=ranking", "dpo.gradient_checkpointing=true"),
            # Whether a random model ends an answer hangs on rounding: three answers without it.
            *("feedback.rejects=[wrong_language, untranslated]", "feedback.pairing.mode=ranking"),
        ],
    )
    pipeline.run(recipe)
    run = recipe.output
    assert (run / "sft" / "model" / "model.safetensors").exists()
    assert not (run / "sft" / "adapter").exists()
    rankings = [json.loads(line) for path in (run / "feedback" / "rankings").iterdir() for line in path.open()]
    assert max(len(ranking["answers"]) for ranking in rankings) >= 3
    before, after = (load_file(run / stage / "model" / "model.safetensors") for stage in ("sft", "dpo"))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    scores = json.loads((run / "evaluation" / "scores.json").read_text())
    assert set(scores["benchmarks"]["facts"]["summary"]) == {"base", "sft", "dpo"}
