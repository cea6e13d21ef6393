"""A job that is warned before it is killed stops after the step at hand, and goes on to the bytes of an unbroken run.

The signals, the launcher and the processes are real; the model is tiny.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from tests.conftest import write_recipe
from tests.training.test_trainer import EXAMPLES, tuned_model
from xllms import pipeline, stopping
from xllms.errors import Stopped
from xllms.recipe import SftSettings
from xllms.recipe_file import load_recipe
from xllms.training.examples import Batch
from xllms.training.objectives import Outcome, sft
from xllms.training.trainer import train

# No checkpoint and few lines of the log are due: what a stop keeps is what it keeps by itself.
LONG = ("sft.epochs=8", "sft.max_steps=60", "sft.save_every=1000", "sft.log_every=7", "sft.validate_every=25")
MADE = ("adapter/adapter_model.safetensors", "metrics.jsonl", "mix.json")
Process = subprocess.Popen  # of text


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A recipe whose instructions are made; each run below goes on in a folder of its own."""
    recipe = write_recipe(tmp_path_factory.mktemp("preemption"), tiny_model_folder)
    pipeline.run(load_recipe(recipe), ("instructions",))
    return recipe


def started(recipe: Path, run: Path, *, processes: int = 1, stop_file: Path | None = None) -> "Process[str]":
    if not run.exists():
        run.mkdir()
        (run / "instructions").symlink_to(recipe.parent / "run" / "instructions")
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    sets = [part for one in (f"output={run}", *LONG) for part in ("--set", one)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop(stopping.STOP_FILE, None)
    if stop_file is not None:
        environment[stopping.STOP_FILE] = str(stop_file)
    command = [sys.executable, *launcher, "-m", "xllms", "sft", str(recipe), *sets]
    return Process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def ended(process: "Process[str]", code: int) -> str:
    """What it said, after it has ended as it should."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, out + err
    return err


def wait_for(process: "Process[str]", ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 200
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the moment to stop never came"
        time.sleep(0.002)


def logged(run: Path) -> int:
    path = run / "sft" / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def made(run: Path) -> dict[str, bytes]:
    return {name: (run / "sft" / name).read_bytes() for name in MADE}


def counts(run: Path) -> Any:
    return json.loads((run / "sft" / "manifest.json").read_text())["counts"]


def stopped_at(err: str) -> int:
    """The step that the one line names."""
    (line,) = [line for line in err.splitlines() if line.startswith("xllms: ")]
    words = line.split()
    assert line == f"xllms: stopped as asked after step {words[6]} of 60; the same command goes on from there"
    return int(words[6])


@pytest.fixture(scope="module")
def unbroken(prepared: Path) -> Path:
    run = prepared.parent / "unbroken"
    ended(started(prepared, run), 0)
    assert logged(run) == 12
    return run


def test_signals_stop_a_run_that_goes_on_to_the_same_bytes(prepared: Path, unbroken: Path) -> None:
    run = prepared.parent / "signalled"
    steps = []
    for number, lines in ((signal.SIGUSR1, 1), (signal.SIGTERM, 5)):
        process = started(prepared, run)
        wait_for(process, lambda lines=lines: logged(run) >= lines)
        process.send_signal(number)
        steps.append(stopped_at(ended(process, 75)))
        assert (run / "sft" / "checkpoints" / f"checkpoint-{steps[-1]}" / "complete").exists()
        assert not (run / "sft" / "manifest.json").exists()
    assert 7 <= steps[0] < steps[1] < 60
    ended(started(prepared, run), 0)
    assert made(run) == made(unbroken)
    assert counts(run) == counts(unbroken)


def test_a_signal_while_the_model_is_loaded_ends_the_process_at_once(prepared: Path) -> None:
    run = prepared.parent / "loading"
    process = started(prepared, run)
    wait_for(process, (run / "recipe.yaml").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == -signal.SIGTERM
    process.communicate()
    assert not (run / "sft" / "checkpoints").exists()


def test_a_job_too_short_for_a_step_is_not_worth_another(prepared: Path) -> None:
    run, file = prepared.parent / "short", prepared.parent / "short.stop"
    file.touch()
    mark = Path(f"{file}.yielded")
    mark.touch()  # of an earlier job
    err = ended(started(prepared, run, stop_file=file), 1)
    assert err.splitlines()[-1] == (
        f"xllms: stopped before the first step was done: give the job more time, or remove {file} if an earlier job "
        "left it"
    )
    assert not list(run.glob("sft/checkpoints/*"))
    assert not mark.exists()


def worker(launcher: "Process[str]", rank: int) -> int:
    """The process of this rank that torchrun started; 0 while there is none."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == launcher.pid and f"RANK={rank}\0" in (folder / "environ").read_text(errors="replace"):
                return int(folder.name)
        except OSError:  # ended meanwhile, or another user's
            continue
    return 0


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the workers in /proc")
def test_two_processes_stop_in_the_same_step_when_one_of_them_hears_of_it(prepared: Path) -> None:
    """First a signal that reaches one worker alone; then the file, while torchrun keeps the signals to itself."""
    whole = prepared.parent / "torchrun-unbroken"
    ended(started(prepared, whole, processes=2), 0)
    run, file = prepared.parent / "torchrun", prepared.parent / "torchrun.stop"
    mark = Path(f"{file}.yielded")
    steps = []
    for lines, ask in ((1, lambda one: os.kill(worker(one, 1), signal.SIGTERM)), (5, lambda one: file.touch())):
        process = started(prepared, run, processes=2, stop_file=file)
        wait_for(process, lambda lines=lines: logged(run) >= lines)
        assert not mark.exists()
        ask(process)
        err = ended(process, 1)  # torchrun's own
        steps.append(stopped_at(err))
        assert "exitcode  : 75" in err
        assert mark.exists()
    file.unlink()
    assert 7 <= steps[0] < steps[1] < 60
    ended(started(prepared, run, processes=2, stop_file=file), 0)
    assert not mark.exists()
    assert made(run) == made(whole)
    assert counts(run) == counts(whole)


PAIRS = [
    {"instruction": f"Say {number}.", "input": "", "prefered_output": "ja " * number, "rejected_output": "no"}
    for number in range(1, 13)
]
DPO = ("dpo.epochs=20", "dpo.max_steps=40", "dpo.save_every=1000", "dpo.log_every=7", "dpo.validation_share=0.25")


def test_preference_training_stops_and_goes_on_too(
    prepared: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, file = tmp_path / "pairs.json", tmp_path / "stop"
    pairs.write_text(json.dumps(PAIRS))
    source = f"dpo.data=[{{path: {pairs}, language: German, instruction_language: English}}]"
    want, run = tmp_path / "want", tmp_path / "run"
    for folder in (want, run):
        folder.mkdir()
        for stage in ("instructions", "sft"):
            (folder / stage).symlink_to(unbroken / stage)
    pipeline.run(load_recipe(prepared, [f"output={want}", source, *DPO]), ("dpo",))
    monkeypatch.setenv(stopping.STOP_FILE, str(file))
    recipe = load_recipe(prepared, [f"output={run}", source, *DPO])
    log = run / "dpo" / "metrics.jsonl"
    with touched_when(file, lambda: log.exists() and log.stat().st_size), pytest.raises(Stopped, match="of 40;"):
        pipeline.run(recipe, ("dpo",))
    assert Path(f"{file}.yielded").exists()
    file.unlink()
    pipeline.run(recipe, ("dpo",))
    for name in ("adapter/adapter_model.safetensors", "metrics.jsonl", "reference.json"):
        assert (run / "dpo" / name).read_bytes() == (want / "dpo" / name).read_bytes(), name


@contextmanager
def touched_when(file: Path, ready: Callable[[], object]) -> Iterator[None]:
    """Touch `file` from another thread as soon as `ready`."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set() and not ready():
            time.sleep(0.001)
        file.touch()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def trained(
    folder: Path, settings: SftSettings, file: Path, stop_in: int = 0, *, validating: bool = False
) -> tuple[dict[str, Tensor], Any]:
    """Train, with the stop file appearing in pass number `stop_in` of training and validation, or of the latter."""
    loaded = tuned_model("llama")
    calls = 0

    def objective(logprobs: Tensor, batch: Batch) -> Outcome:
        nonlocal calls
        calls += not (validating and torch.is_grad_enabled())
        if calls == stop_in:
            file.touch()
        return sft(logprobs, batch)

    kept = train("sft", loaded, objective, EXAMPLES[:18], EXAMPLES[18:], settings, 0, folder)
    return {name: p.detach().clone() for name, p in loaded.model.named_parameters() if p.requires_grad}, kept


@given(
    log_every=st.integers(1, 5),
    save_every=st.integers(1, 9),
    validate_every=st.none() | st.integers(1, 4),
    stops=st.lists(st.integers(1, 25), min_size=1, max_size=2),
)
@example(log_every=3, save_every=9, validate_every=2, stops=[6, 9])
@hypothesis_settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stop_at_any_moment_changes_no_byte(
    monkeypatch: pytest.MonkeyPatch, log_every: int, save_every: int, validate_every: int | None, stops: list[int]
) -> None:
    """Also in a validation, which is given up and made after the resume; also figures of steps not logged yet."""
    settings = SftSettings(
        batch_size=4,
        token_budget=24,
        learning_rate=1e-2,
        log_every=log_every,
        save_every=save_every,
        validate_every=validate_every,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "stop"
        monkeypatch.setenv(stopping.STOP_FILE, str(file))
        want, want_counts = trained(folder / "whole", settings, file)
        for stop_in in stops:
            try:
                trained(folder / "parts", settings, file, stop_in)
            except Stopped as stopped:
                assert (stopped.exit_code == 75) == Path(f"{file}.yielded").exists()
            file.unlink(missing_ok=True)
            Path(f"{file}.yielded").unlink(missing_ok=True)
        got, got_counts = trained(folder / "parts", settings, file)
        assert (folder / "parts" / "metrics.jsonl").read_bytes() == (folder / "whole" / "metrics.jsonl").read_bytes()
    assert got_counts == want_counts
    assert want
    for key, weights in want.items():
        assert torch.equal(got[key], weights), key


def test_a_validation_is_given_up_for_the_stop_and_no_progress_is_said_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "stop"
    monkeypatch.setenv(stopping.STOP_FILE, str(file))
    settings = SftSettings(batch_size=18, log_every=1, token_budget=24, learning_rate=1e-2)
    with pytest.raises(Stopped, match=r"^stopped as asked after step 1 of 1; the same command goes on from there$"):
        trained(tmp_path / "run", settings, file, 1, validating=True)
    with pytest.raises(Stopped, match=r"^stopped before the last validation was done: give the job more time, or rem"):
        trained(tmp_path / "run", settings, file)
    file.unlink()
    trained(tmp_path / "run", settings, file)
    splits = [json.loads(line)["split"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert splits == ["train", "validation"]
