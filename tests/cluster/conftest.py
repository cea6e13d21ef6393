"""A real Slurm of one node for the tests of this folder, and a stand-in for LSF that hands its jobs to it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import write_recipe

STARTER = Path(__file__).parents[3] / "shared" / "tools" / "slurm-up.sh"
SITES = """\
here:
  scheduler: {scheduler}
  queue: {queue}
  cpus: 1
  memory: 1G
  time: 30m
  parts: 3
  at_once: 2
  environment: {{HF_HUB_OFFLINE: "1", OMP_NUM_THREADS: "1"}}
"""


@pytest.fixture(scope="package")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder of a running Slurm; `SLURM_CONF` names it."""
    if shutil.which("sbatch") is None or shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("no Slurm on this machine (apt-get install slurm-wlm)")
    if not STARTER.exists():
        pytest.skip("no tools/slurm-up.sh beside the checkout (../shared)")
    folder = tmp_path_factory.mktemp("slurm")
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    started = subprocess.run(
        ["bash", str(STARTER), str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "idle" in started.stdout, started.stdout + started.stderr
    yield folder
    subprocess.run(["scontrol", "shutdown"], check=False, timeout=30)
    if before is None:
        del os.environ["SLURM_CONF"]
    else:
        os.environ["SLURM_CONF"] = before


@pytest.fixture
def empty_queue(slurm: Path) -> Iterator[Path]:
    """Slurm, with nothing left in its queue afterwards."""
    yield slurm
    subprocess.run(["scancel", "--user", str(os.getuid())], check=False, timeout=30)
    wait_until(lambda: queue() == "", 30)


def queue() -> str:
    """What `squeue` lists of jobs that have not ended."""
    done = subprocess.run(["squeue", "-h"], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


@pytest.fixture
def lsf(empty_queue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`bsub`, `bjobs`, `bkill`, `bresume`, `blaunch` of the tests' own on the path; Slurm does the work."""
    commands = tmp_path / "lsf"
    commands.mkdir()
    for name in ("bsub", "bjobs", "bkill", "bresume", "blaunch"):
        command = commands / name
        command.write_text(
            f'#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / "lsf_on_slurm.py"} {name} "$@"\n'
        )
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("LSF_STAND_IN", str(tmp_path / "lsf-jobs"))
    return commands


def wait_until(ready: Callable[[], bool], seconds: float, what: str = "") -> None:
    """Look again until it is so, or fail."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, what or "it never came"
        time.sleep(0.1)


def xllms(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run the command in a folder; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "xllms", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def work(tmp_path: Path, tiny_model_folder: Path) -> Path:
    """A folder with recipe.yaml for the tiny model, whose run goes into run/."""
    write_recipe(tmp_path, tiny_model_folder)
    return tmp_path


def write_site(folder: Path, scheduler: str, more: str = "", name: str = "debug") -> None:
    """clusters.yaml with the site `here`."""
    (folder / "clusters.yaml").write_text(SITES.format(scheduler=scheduler, queue=name) + more, encoding="utf-8")
