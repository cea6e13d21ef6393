"""Stages on a real Slurm: dependencies, an array, a job that is put aside and comes back, cancelled and failed ones."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.cluster.conftest import queue, wait_until, write_site, xllms
from tests.test_pipeline import contents, finish
from xllms.cluster.submission import Submission

LONGER = ("--set", "sft.epochs=4", "--set", "sft.max_steps=24")


def come_back(job: str) -> None:
    """A job that was put back waits two minutes by default: here as long as Slurm takes to forget its credential."""
    wait_until(lambda: state_of(job) == "PENDING", 60, "it was not put back")
    time.sleep(3)
    subprocess.run(["scontrol", "update", f"jobid={job}", "StartTime=now"], check=True)


def state_of(job: str) -> str:
    said = subprocess.run(["scontrol", "show", "job", "-o", job], capture_output=True, text=True, check=True).stdout
    found = re.search(r"JobState=(\w+)", said)
    return found[1] if found else ""


def rows(work: Path) -> dict[str, dict[str, str]]:
    return {row["job"]: row for row in json.loads(xllms(work, "status", "run", "--json"))["jobs"]}


def test_a_run_whose_training_is_put_aside_ends_with_the_same_bytes(
    empty_queue: Path, work: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    write_site(work, "slurm")
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", *LONGER)
    submission = Submission(work / "run")
    job = submission.find("sft").id
    assert set(submission.active()) == {"instructions", "sft", "feedback", "dpo", "evaluation", "report"}
    wait_until(lambda: (work / "run/sft/checkpoints/checkpoint-2/complete").exists(), 120, "sft never began")
    # What Slurm does some minutes before the wall time.
    subprocess.run(["scancel", "--signal=USR1", "--batch", job], check=True)
    come_back(job)
    assert not (work / "run/sft/manifest.json").exists(), "put aside too late to prove anything"
    assert xllms(work, "status", "run", "--wait")
    found = rows(work)
    assert {row["stage"] for row in found.values()} == {"done"}
    assert {row["exit"] for row in found.values()} == {"0"}
    assert found["evaluation"]["state"] == "3 done"
    log = xllms(work, "logs", "run", "--stage", "sft")
    assert "stopped as asked after step" in log
    assert "put back into the queue" in log
    assert len((work / "run/cluster/starts/sft").read_text().splitlines()) == 2

    alone = tmp_path / "alone"
    from tests.conftest import write_recipe

    recipe = write_recipe(alone, tiny_model_folder)
    recipe.write_text(recipe.read_text().replace("max_steps: 6", "max_steps: 24, epochs: 4"))
    finish(recipe)
    want, got = contents(alone / "run"), contents(work / "run")
    assert got.keys() == want.keys()
    assert [name for name in want if got[name] != want[name]] == []


def test_a_job_whose_node_dies_is_started_again(empty_queue: Path, work: Path) -> None:
    write_site(work, "slurm")
    stages = ("--stage", "instructions", "--stage", "sft")
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", *stages, *LONGER)
    job = Submission(work / "run").find("sft").id
    wait_until(lambda: (work / "run/sft/checkpoints/checkpoint-2/complete").exists(), 120, "sft never began")
    node = subprocess.run(["sinfo", "-h", "-o", "%n"], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["scontrol", "update", f"nodename={node}", "state=down", "reason=test"], check=True)
    wait_until(lambda: state_of(job) == "PENDING", 60, "it was not put back")
    assert not (work / "run/sft/manifest.json").exists(), "too late to prove anything"
    time.sleep(3)
    # Where the daemon has answered by then, Slurm has taken the node back by itself.
    subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=False)
    come_back(job)
    xllms(work, "status", "run", "--wait")
    assert rows(work)["sft"]["stage"] == "done"
    assert len((work / "run/cluster/starts/sft").read_text().splitlines()) == 2


def test_a_failed_stage_keeps_the_others_from_running_and_its_code_is_seen(empty_queue: Path, work: Path) -> None:
    write_site(work, "slurm")
    said = xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--set", "model.name=/nowhere/model")
    assert "waiting" in said
    table = xllms(work, "status", "run", "--wait", code=2)
    found = rows(work)
    assert found["instructions"]["exit"] == "0"
    assert found["sft"]["exit"] == "2", table
    assert found["sft"]["state"].startswith("failed")
    assert {found[name]["stage"] for name in ("feedback", "dpo", "report")} == {"not begun"}
    assert all(found[name]["state"].startswith("cancelled") for name in ("feedback", "dpo", "report"))
    assert "/nowhere/model" in xllms(work, "logs", "run", "--stage", "sft")
    # What is done is not submitted again; the rest is.
    again = xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--stage", "sft", "--stage", "instructions")
    assert re.search(r"instructions +\d+ +done", again)
    wait_until(lambda: queue() == "", 60)


def test_what_is_cancelled_does_not_come_back(empty_queue: Path, work: Path) -> None:
    write_site(work, "slurm")
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", *LONGER)
    twice = xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--stage", "sft", code=2)
    assert re.search(r"sft of .*run is submitted already \(job \d+\)", twice)
    wait_until(lambda: (work / "run/sft/started.json").exists(), 120, "sft never began")
    said = xllms(work, "cancel", "run", "--stage", "sft")
    assert [line.partition(":")[0] for line in said.splitlines()] == ["sft", "feedback", "dpo", "evaluation", "report"]
    wait_until(lambda: queue() == "", 60, "something came back")
    assert rows(work)["sft"]["state"].startswith("cancelled")
    assert "nothing to cancel" in xllms(work, "cancel", "run")


@pytest.mark.parametrize("stage", ["instructions", "dpo"])
def test_a_refusal_is_quoted_and_nothing_is_left_behind(empty_queue: Path, work: Path, stage: str) -> None:
    write_site(work, "slurm", f"  stages: {{{stage}: {{queue: nowhere}}}}\n")
    said = xllms(work, "submit", "recipe.yaml", "--cluster", "here", code=1)
    assert "invalid partition" in said.lower()
    assert "nothing was submitted" in said
    assert len(said.strip().splitlines()) == 1
    wait_until(lambda: queue() == "", 10, "a job is left behind")
    assert not (work / "run/cluster/jobs.json").exists()


def test_a_node_that_sees_another_folder_says_so(empty_queue: Path, work: Path) -> None:
    write_site(work, "slurm", "  options: ['--begin=now+5']\n")
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--stage", "instructions")
    (work / "run/cluster/token").write_text("of another run\n")
    xllms(work, "status", "run", "--wait", code=2)
    assert "does not see" in xllms(work, "logs", "run")


def test_a_job_that_gets_nowhere_is_not_put_back_for_ever(empty_queue: Path, work: Path) -> None:
    # As if the warning came before the work: every start is told to stop.
    write_site(work, "slurm", "  requeues: 0\n  setup: ['(sleep 1; kill -USR1 $$) &']\n")
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--stage", "instructions")
    xllms(work, "status", "run", "--wait", code=143)
    assert "give it more time" in xllms(work, "logs", "run")
