"""What both sides of `benchmarks/evaluation.py` share: the protocol, and how seconds and memory are taken.

As in `worker.py`: a side loads its model, says that it is ready, and runs one case per line on standard input. It
needs torch only.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from worker import peak_memory, reset_peak

Case = dict[str, Any]
Scores = list[list[float]]  # log-likelihood of each choice of each question


class Side(Protocol):
    """One library."""

    version: str

    def prepare(self, case: Case) -> Callable[[], Scores]:
        """Everything that is not counted; what it returns runs the case, tokenizing included."""
        ...


def serve(make: Callable[[dict[str, Any]], Side]) -> None:
    """Run cases for the parent until it closes standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    side = make(job)

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    answer(ready=side.version)
    for line in sys.stdin:
        timed = side.prepare(job["cases"][json.loads(line)["case"]])
        reset_peak()
        wall, cpu = time.perf_counter(), _cpu()
        scores = timed()
        cpu, wall = _cpu() - cpu, time.perf_counter() - wall
        answer(cpu=cpu, wall=wall, peak=peak_memory(), scores=scores)
        del timed


def _cpu() -> float:
    """Seconds of all threads, and of children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
