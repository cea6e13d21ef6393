"""Whether a process was asked to stop: real signals to real processes, and the file that a batch script touches."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xllms import stopping
from xllms.errors import Stopped

LISTENER = """\
import time
from xllms import stopping

def say(text):
    print(text, flush=True)

with stopping.listen():
    try:
        say("listening")
        for _ in range(4000):
            if stopping.asked():
                break
            time.sleep(0.002)
        say(stopping.asked())
        time.sleep({more})
    except KeyboardInterrupt:
        say("interrupted")
say("no longer listening")
time.sleep({after})
"""


@contextmanager
def listener(more: float = 0.0, after: float = 0.0) -> Iterator["subprocess.Popen[str]"]:
    """A process that listens, says why it should stop, goes on for `more` seconds, and lives on for `after`."""
    code = LISTENER.format(more=more, after=after)
    environment = {key: value for key, value in os.environ.items() if key != stopping.STOP_FILE}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert heard(process) == "listening"
        yield process
    finally:
        process.kill()
        process.communicate()


def heard(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_is_noted_and_the_process_ends_by_itself(name: str) -> None:
    with listener() as process:
        process.send_signal(signal.Signals[name])
        assert heard(process) == name
        assert heard(process) == "no longer listening"
        assert process.wait(10) == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_after_listening_a_signal_kills_again(name: str) -> None:
    with listener(after=10) as process:
        process.send_signal(signal.SIGUSR1)
        assert heard(process) == "SIGUSR1"
        assert heard(process) == "no longer listening"
        process.send_signal(signal.Signals[name])
        assert process.wait(5) == -signal.Signals[name]


def test_ctrl_c_interrupts_at_once() -> None:
    with listener() as process:
        process.send_signal(signal.SIGINT)
        assert heard(process) == "interrupted"


def test_a_second_sigterm_kills_but_not_the_launchers_echo_of_the_first() -> None:
    with listener(more=10) as process:
        process.send_signal(signal.SIGTERM)
        assert heard(process) == "SIGTERM"
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None
        time.sleep(stopping.ECHO_SECONDS)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == -signal.SIGTERM


def test_sigterm_at_the_wall_time_does_not_cut_off_what_sigusr1_began() -> None:
    with listener(more=stopping.ECHO_SECONDS + 0.6) as process:
        process.send_signal(signal.SIGUSR1)
        assert heard(process) == "SIGUSR1"
        time.sleep(stopping.ECHO_SECONDS + 0.2)
        process.send_signal(signal.SIGTERM)
        assert heard(process) == "no longer listening"
        assert process.wait(5) == 0


def test_the_stop_file_asks_from_the_moment_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(stopping.STOP_FILE, "")
    assert stopping.asked() is None
    file = tmp_path / "stop"
    monkeypatch.setenv(stopping.STOP_FILE, str(file))
    assert stopping.asked() is None
    file.touch()
    assert stopping.asked() == "XLLMS_STOP_FILE"


def test_a_mark_says_that_the_work_stopped_with_something_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(stopping.STOP_FILE, raising=False)
    stopping.yielded()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(stopping.STOP_FILE, str(tmp_path / "job.stop"))
    stopping.yielded()
    mark = tmp_path / "job.stop.yielded"
    assert list(tmp_path.iterdir()) == [mark]
    with monkeypatch.context() as other:
        other.setenv("RANK", "1")
        with stopping.listen():
            assert mark.exists()
    with stopping.listen():
        assert not mark.exists(), "an earlier job's mark would start this one again whatever became of it"


def test_listening_in_another_thread_leaves_signals_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "stop"
    file.touch()
    monkeypatch.setenv(stopping.STOP_FILE, str(file))
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def listening() -> None:
        with stopping.listen():
            seen.extend((signal.getsignal(signal.SIGTERM), stopping.asked()))

    thread = threading.Thread(target=listening)
    thread.start()
    thread.join()
    assert seen == [before, "XLLMS_STOP_FILE"]


def test_only_what_was_kept_is_worth_another_job() -> None:
    assert Stopped("after step 3", kept=True).exit_code == 75
    assert Stopped("before the first step", kept=False).exit_code == 1
