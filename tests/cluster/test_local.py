"""This machine as a cluster: the same jobs without a scheduler."""

import json
import os
import signal
from pathlib import Path

from tests.cluster.conftest import wait_until, xllms

SITE = """\
here: {scheduler: local, parts: 2, environment: {OMP_NUM_THREADS: "1"}}
"""


def rows(work: Path) -> dict[str, dict[str, str]]:
    return {row["job"]: row for row in json.loads(xllms(work, "status", "run", "--json"))["jobs"]}


def test_a_run_ends_well_and_a_failed_one_says_so(work: Path) -> None:
    (work / "clusters.yaml").write_text(SITE)
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--wait", "--set", "model.name=/nowhere/model", code=2)
    found = rows(work)
    assert (found["instructions"]["exit"], found["sft"]["exit"]) == ("0", "2")
    assert found["report"]["state"].startswith("cancelled")
    # The stage that failed once more, with a model that is there.
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--wait", "--stage", "instructions", "--stage", "sft")
    found = rows(work)
    assert [found[name]["stage"] for name in ("instructions", "sft")] == ["done", "done"]
    assert list(found) == ["instructions", "sft"], "what was cancelled before is history"
    assert "adapter" in xllms(work, "logs", "run", "--stage", "sft")


def test_cancel_ends_what_runs(work: Path) -> None:
    (work / "clusters.yaml").write_text(SITE)
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--set", "sft.epochs=50", "--set", "sft.max_steps=300")
    wait_until(lambda: (work / "run/sft/metrics.jsonl").exists(), 60, "sft never began")
    assert "sft: job 2 is cancelled" in xllms(work, "cancel", "run")
    wait_until(lambda: rows(work)["sft"]["state"].startswith("cancelled"), 30)
    assert rows(work)["report"]["state"].startswith("cancelled")


def test_a_dead_runner_is_seen(work: Path) -> None:
    (work / "clusters.yaml").write_text(SITE)
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--set", "sft.epochs=50", "--set", "sft.max_steps=300")
    wait_until(lambda: (work / "run/sft/started.json").exists(), 60, "sft never began")
    note = json.loads((work / "run/cluster/local/2.json").read_text())
    os.kill(note["runner"], signal.SIGKILL)
    os.killpg(note["group"], signal.SIGKILL)
    wait_until(lambda: "runner is gone" in rows(work)["sft"]["state"], 30)


def test_mistakes_are_one_line(work: Path) -> None:
    assert "needs instructions" in xllms(work, "submit", "recipe.yaml", "--cluster", "local", "--stage", "sft", code=2)
    assert "there is no such stage" in xllms(
        work, "submit", "recipe.yaml", "--cluster", "local", "--stage", "x", code=2
    )
    assert "nothing of this run was submitted" in xllms(work, "status", "run", code=2)
    (work / "clusters.yaml").write_text("far: {scheduler: slurm}\nfarther: {scheduler: lsf}\n")
    path = os.environ["PATH"]
    try:
        os.environ["PATH"] = "/nowhere"
        for name, command in (("far", "sbatch"), ("farther", "bsub")):
            said = xllms(work, "submit", "recipe.yaml", "--cluster", name, code=2)
            assert f"`{command}` is not found" in said
            assert len(said.strip().splitlines()) == 1
    finally:
        os.environ["PATH"] = path
    assert not (work / "run/cluster/jobs.json").exists()


def test_a_later_submission_waits_for_an_earlier_one_and_has_a_recipe_of_its_own(work: Path) -> None:
    slow = "here: {scheduler: local, environment: {OMP_NUM_THREADS: '1'}, setup: [sleep 3]}\n"
    (work / "clusters.yaml").write_text(slow)
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--stage", "instructions")
    first = (work / "run/cluster/recipe-1.yaml").read_bytes()
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--stage", "sft", "--set", "sft.max_steps=2")
    assert (work / "run/cluster/recipe-1.yaml").read_bytes() == first
    assert rows(work)["sft"]["state"] == "waiting"
    xllms(work, "status", "run", "--wait")
    assert json.loads((work / "run/sft/manifest.json").read_text())["counts"]["steps"] == 2


def test_a_gap_between_stages_is_refused_also_in_a_dry_run(work: Path) -> None:
    stages = ("--stage", "instructions", "--stage", "dpo")
    for more in ((), ("--dry-run",)):
        said = xllms(work, "submit", "recipe.yaml", "--cluster", "local", *stages, *more, code=2)
        assert "dpo needs feedback, which is neither done nor submitted; add --stage feedback" in said
    assert not (work / "run/cluster/jobs.json").exists()
