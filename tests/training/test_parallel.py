"""Two processes are one: the same losses and adapters as one process gives, and a resume on another number of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import write_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A recipe whose instructions are made; each run below goes on in a folder of its own."""
    recipe = write_recipe(tmp_path_factory.mktemp("parallel"), tiny_model_folder)
    xllms("instructions", recipe)
    return recipe


def xllms(stage: str, recipe: Path, *sets: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    overrides = [part for one in sets for part in ("--set", one)]
    command = [sys.executable, *launcher, "-m", "xllms", stage, str(recipe), *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def tuned(recipe: Path, name: str, *sets: str, processes: int = 1, stage: str = "sft") -> Path:
    """Run a stage in a folder `name` of its own that has the prepared instructions."""
    run = recipe.parent / name
    if not run.exists():
        run.mkdir()
        (run / "instructions").symlink_to(recipe.parent / "run" / "instructions")
    done = xllms(stage, recipe, f"output={run}", *sets, processes=processes)
    assert done.returncode == 0, done.stderr[-3000:]
    return run / stage


def losses(folder: Path) -> list[tuple[int, str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) >= 4
    return [(line["step"], line["split"], line["loss"]) for line in lines]


def assert_same_run(got: Path, want: Path, file: str = "adapter/adapter_model.safetensors") -> None:
    for (step, split, loss), (*place, expected) in zip(losses(got), losses(want), strict=True):
        assert [step, split] == place
        assert loss == pytest.approx(expected, abs=5e-6)
    weights, expected_weights = load_file(got / file), load_file(want / file)
    assert weights.keys() == expected_weights.keys()
    for name, value in expected_weights.items():
        assert float((weights[name] - value).abs().max()) < 1e-4, name


@pytest.fixture(scope="module")
def alone(prepared: Path) -> Path:
    return tuned(prepared, "alone")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_give_the_losses_and_the_adapter_of_one(prepared: Path, alone: Path, parallel: str) -> None:
    together = tuned(prepared, parallel, f"sft.parallel={parallel}", "sft.token_budget=200", processes=2)
    assert_same_run(together, alone)
    counts = json.loads((together / "manifest.json").read_text())["counts"]
    assert counts["processes"] == 2


def test_all_weights_sharded_over_two_processes_are_those_of_one(prepared: Path) -> None:
    sets = ("sft.tuning=full", "sft.learning_rate=1e-4")
    want = tuned(prepared, "full-alone", *sets)
    got = tuned(prepared, "full-fsdp", *sets, "sft.parallel=fsdp", processes=2)
    assert_same_run(got, want, "model/model.safetensors")


@pytest.mark.parametrize(("first", "then", "parallel"), [(2, 1, "fsdp"), (1, 2, "ddp"), (1, 2, "fsdp")])
def test_a_run_goes_on_with_another_number_of_processes(
    prepared: Path, alone: Path, first: int, then: int, parallel: str
) -> None:
    """Killed after its fourth step of six; what the checkpoint does not hold is done again."""
    name = f"resumed-{first}-{then}-{parallel}"
    sets = (f"sft.parallel={parallel}",)
    folder = tuned(prepared, name, *sets, processes=first)
    (folder / "manifest.json").unlink()
    for leftover in ("adapter/adapter_model.safetensors", "checkpoints/checkpoint-6/complete"):
        (folder / leftover).unlink()
    assert (folder / "checkpoints" / "checkpoint-4" / "complete").exists()
    tuned(prepared, name, *sets, processes=then)
    assert_same_run(folder, alone)


def test_preference_training_and_its_reference_pass_are_shared_too(prepared: Path) -> None:
    run = tuned(prepared, "dpo-alone").parent
    assert xllms("feedback", prepared, f"output={run}").returncode == 0
    together = prepared.parent / "dpo-together"
    together.mkdir()
    for stage in ("instructions", "sft", "feedback"):
        (together / stage).symlink_to(run / stage)
    want = tuned(prepared, "dpo-alone", stage="dpo")
    got = tuned(prepared, "dpo-together", stage="dpo", processes=2)
    assert_same_run(got, want)
    references = [json.loads((folder / "reference.json").read_text()) for folder in (got, want)]
    assert references[0]["key"] == references[1]["key"]
    for row, expected in zip(*(reference["logprobs"] for reference in references), strict=True):
        assert row == pytest.approx(expected, abs=1e-4)


def test_stages_that_do_not_share_their_work_refuse_several_processes(prepared: Path) -> None:
    done = xllms("run", prepared, processes=2)
    assert done.returncode != 0
    assert "only `xllms sft` and `xllms dpo` share their work" in done.stderr
