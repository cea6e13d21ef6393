"""LSF: its scripts against IBM's options, and its whole way through a stand-in of `bsub` that hands jobs to Slurm.

None of this ran on LSF itself.
"""

import json
import re
import shlex
import subprocess
from pathlib import Path

from tests.cluster.conftest import queue, wait_until, write_site, xllms
from tests.cluster.lsf_on_slurm import FLAGS, VALUED
from tests.cluster.test_slurm import come_back
from xllms.cluster.submission import Submission

# Of the bsub reference of IBM Spectrum LSF 10.1.
DOCUMENTED = {"-J", "-q", "-P", "-n", "-R", "-gpu", "-W", "-wa", "-wt", "-r", "-Q", "-o", "-w", "-ti", "-H"}


def test_only_documented_options_are_used(work: Path) -> None:
    write_site(work, "lsf")
    printed = xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--dry-run")
    lines = [line.removeprefix("#BSUB ") for line in printed.splitlines() if line.startswith("#BSUB ")]
    assert len(lines) > 40
    assert {shlex.split(line)[0] for line in lines} <= DOCUMENTED
    assert VALUED | FLAGS == DOCUMENTED


def test_two_nodes_train_together_and_a_run_put_aside_ends_well(lsf: Path, work: Path) -> None:
    # `processes` on `nodes`: two torch processes with gloo, each under a torchrun of its own as on a node of its own.
    write_site(work, "lsf", "  stages: {sft: {nodes: 2, processes: 2}}\n")
    stages = [word for name in ("instructions", "sft", "evaluation") for word in ("--stage", name)]
    longer = ("--set", "sft.epochs=4", "--set", "sft.max_steps=24")
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", *stages, *longer)
    job = Submission(work / "run").find("sft").id
    wait_until(lambda: (work / "run/sft/checkpoints/checkpoint-2/complete").exists(), 200, "sft never began")
    subprocess.run(["scancel", "--signal=USR1", "--batch", job], check=True)
    come_back(job)
    assert not (work / "run/sft/manifest.json").exists(), "put aside too late to prove anything"
    xllms(work, "status", "run", "--wait")
    found = {row["job"]: row for row in json.loads(xllms(work, "status", "run", "--json"))["jobs"]}
    assert {row["stage"] for row in found.values()} == {"done"}
    assert found["evaluation"]["state"] == "3 done"
    assert json.loads((work / "run/sft/manifest.json").read_text())["counts"]["processes"] == 2
    assert "put back into the queue" in xllms(work, "logs", "run", "--stage", "sft")


def test_a_refusal_is_quoted_and_nothing_is_left_behind(lsf: Path, work: Path) -> None:
    write_site(work, "lsf", "  stages: {dpo: {queue: nowhere}}\n")
    said = xllms(work, "submit", "recipe.yaml", "--cluster", "here", code=1)
    assert "nowhere: No such queue. Job not submitted." in said
    assert "nothing was submitted" in said
    wait_until(lambda: queue() == "", 10, "a job is left behind")


def test_a_failed_and_a_cancelled_job_are_told_apart(lsf: Path, work: Path) -> None:
    write_site(work, "lsf")
    xllms(work, "submit", "recipe.yaml", "--cluster", "here", "--set", "model.name=/nowhere/model")
    table = xllms(work, "status", "run", "--wait", code=2)
    assert re.search(r"sft +\d+ +failed \(EXIT\) +2", table), table
    assert re.search(r"feedback +\d+ +cancelled", table), table
    assert "/nowhere/model" in xllms(work, "logs", "run", "--stage", "sft")
    assert "nothing to cancel" in xllms(work, "cancel", "run")
