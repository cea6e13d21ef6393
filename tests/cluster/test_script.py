"""The scripts: as they were read and found right (golden files), and what they do with signals and exit codes."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cluster.conftest import wait_until
from xllms.cluster.calling import Refused
from xllms.cluster.job import JobSpec, Resources
from xllms.cluster.local import Local
from xllms.cluster.lsf import Lsf
from xllms.cluster.scheduler import Scheduler
from xllms.cluster.script import Place, render
from xllms.cluster.site import JOBS, Site
from xllms.cluster.slurm import Slurm
from xllms.cluster.stages import job_specs
from xllms.recipe_file import load_recipe

GOLDEN = Path(__file__).parent / "golden"
RECIPES = Path(__file__).parents[2] / "recipes"
SITE = {
    "queue": "batch",
    "account": "nlp",
    "gpus_per_node": 4,
    "gpu_type": "a100",
    "cpus": 16,
    "memory": "128G",
    "time": "24h",
    "modules": ["cuda/12.8"],
    "environment": {"HF_HOME": "/shared/hf cache"},
    "setup": ["source /shared/xllms/.venv/bin/activate"],
    "python": "python",
    "parts": 16,
    "at_once": 8,
    "stages": {"sft": {"gpus": 4}, "dpo": {"gpus": 8, "time": "48h"}, "instructions": {"nodes": 2}},
}
PLACE = Place(Path("/shared/runs/xllama-100/cluster"), Path("/shared/xllms"), "a1b2c3d4e5f60718")


def scripts(scheduler: str) -> dict[str, str]:
    """The paper's run as it would be submitted, ids counted from 101."""
    site = Site.model_validate({"scheduler": scheduler, **SITE})
    specs = job_specs(load_recipe(RECIPES / "xllama-100.yaml"), site, PLACE.recipe)
    ids = {name: str(101 + number) for number, name in enumerate(JOBS)}
    own: Scheduler = Slurm() if scheduler == "slurm" else Lsf()
    return {spec.name: render(spec, site, PLACE, own, tuple(ids[name] for name in spec.after)) for spec in specs}


@pytest.mark.parametrize("scheduler", ["slurm", "lsf"])
def test_the_papers_run_is_as_it_was_read(scheduler: str) -> None:
    found = scripts(scheduler)
    assert set(found) == set(JOBS)
    for name, text in found.items():
        golden = GOLDEN / scheduler / f"{name}.sh"
        if os.environ.get("XLLMS_WRITE_GOLDEN"):
            golden.parent.mkdir(parents=True, exist_ok=True)
            golden.write_text(text, encoding="utf-8")
        assert text == golden.read_text(encoding="utf-8"), f"{golden.name}: XLLMS_WRITE_GOLDEN=1 writes it anew"
        assert subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False).stderr == ""


def start(
    folder: Path, python: str, stage: str = "sft", requeues: int = 5, setup: tuple[str, ...] = ()
) -> "subprocess.Popen[str]":
    """A job's script as the local runner starts it; `python` is a shell script in Python's place."""
    place = Place(folder / "a run" / "cluster", folder, "token")
    place.folder.mkdir(parents=True, exist_ok=True)
    (place.folder / "logs").mkdir(exist_ok=True)
    (place.folder / "token").write_text("token\n")
    work = folder / "work.sh"
    work.write_text(python)
    site = Site(scheduler="local", python=f"bash '{work}'", requeues=requeues, setup=setup)
    spec = JobSpec(stage, ((stage, "recipe.yaml"),), Resources())
    script = folder / "job.sh"
    script.write_text(render(spec, site, place, Local(place.folder), ()))
    environment = {**os.environ, "XLLMS_JOB": "7", "XLLMS_TASK": "0"}
    return subprocess.Popen(["bash", str(script)], env=environment, text=True, start_new_session=True)


def log(folder: Path) -> str:
    return (folder / "a run/cluster/logs/sft.log").read_text()


def test_the_code_of_the_work_is_the_jobs(tmp_path: Path) -> None:
    assert start(tmp_path, "echo $@; exit 7").wait(20) == 7
    assert (tmp_path / "a run/cluster/ended/sft").read_text() == "7 7\n"
    assert log(tmp_path) == "-m xllms sft recipe.yaml\n"


WAITS = 'until [ -e "$XLLMS_STOP_FILE" ]; do sleep 0.1; done; '


@pytest.mark.parametrize(
    ("then", "code", "back"),
    [
        ('touch "$XLLMS_STOP_FILE.yielded"; exit 1', 75, True),  # torchrun makes a 1 of 75
        ("exit 75", 75, True),
        ("exit 1", 1, False),  # stopped with nothing kept
        ("exit 0", 0, False),  # done all the same
    ],
)
def test_a_warned_training_comes_back_if_it_kept_something(tmp_path: Path, then: str, code: int, back: bool) -> None:
    job = start(tmp_path, WAITS + then)
    wait_until(lambda: (tmp_path / "a run/cluster/starts/sft").exists(), 20)
    time.sleep(0.3)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(20) == code
    assert ("put back" in log(tmp_path)) == back
    assert (tmp_path / "a run/cluster/ended/sft").exists() == (not back)


def test_a_warned_data_stage_is_ended_at_once_and_comes_back(tmp_path: Path) -> None:
    job = start(tmp_path, "exec sleep 60", "feedback")
    wait_until(lambda: (tmp_path / "a run/cluster/starts/feedback").exists(), 20)
    time.sleep(0.5)
    job.send_signal(signal.SIGTERM)
    assert job.wait(20) == 75


def test_what_was_cancelled_or_came_back_too_often_stays_away(tmp_path: Path) -> None:
    for cancelled, requeues in ((True, 5), (False, 0)):
        folder = tmp_path / str(requeues)
        mark = folder / "a run/cluster/cancelled/sft"
        if cancelled:
            mark.parent.mkdir(parents=True)
            mark.touch()
        folder.mkdir(exist_ok=True)
        assert start(folder, "exit 75", requeues=requeues).wait(20) == 1
        assert "put back" not in log(folder)
        assert (folder / "a run/cluster/ended/sft").read_text() == "7 1\n"


def test_a_warning_before_the_work_began_is_no_success(tmp_path: Path) -> None:
    assert start(tmp_path, "exit 0", setup=("kill -USR1 $$", "sleep 0.2")).wait(20) == 75
    assert "put back" in log(tmp_path)
    assert not (tmp_path / "a run/cluster/ended/sft").exists()


def test_a_site_may_use_unset_variables_and_a_module_that_fails_ends_the_job(tmp_path: Path) -> None:
    assert start(tmp_path / "a", "exit 0", setup=("echo $NOBODY_SET_THIS",)).wait(20) == 0
    place = Place(tmp_path, tmp_path, "token")
    site = Site(scheduler="local", modules=("gone",))
    assert "module load gone || exit 2\n" in render(JobSpec("sft", (("sft",),), Resources()), site, place, Slurm(), ())


@pytest.mark.parametrize(("own", "log"), [(Slurm(), "my run%%x[1]"), (Lsf(), "my run%x[1]")])
def test_odd_folders_are_quoted(own: Scheduler, log: str) -> None:
    place = Place(Path("/shared/my run%x[1]/cluster"), Path("/shared"), "token")
    header = "\n".join(own.header(JobSpec("sft", (("sft",),), Resources()), Site(scheduler="slurm"), place, ()))
    assert "xllms-sft-my_run_x_1_" in header
    assert f'"/shared/{log}/cluster/logs/sft.' in header


def test_a_scheduler_that_does_not_answer_is_not_one_that_forgot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("scontrol", "bjobs", "sacct"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'Unable to contact the controller' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for own in (Slurm(), Lsf()):
        with pytest.raises(Refused, match="Unable to contact"):
            own.states({"7": 0})
