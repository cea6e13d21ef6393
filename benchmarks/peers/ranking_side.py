"""Our side of `benchmarks/evaluation.py`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from answering import Case, Scores, serve

import xllms
from xllms.evaluation.ranking import rank
from xllms.models import load
from xllms.recipe import ModelSettings


class Xllms:
    """`rank` on the questions that lm-eval's tasks ask."""

    version = f"xllms {getattr(xllms, '__version__', '')}".strip()

    def __init__(self, job: dict[str, Any]) -> None:
        self.requests = json.loads(Path(job["requests"]).read_text())
        self.loaded = load(ModelSettings(name=job["model"], dtype=job["dtype"]), "alpaca")

    def prepare(self, case: Case) -> Callable[[], Scores]:
        """See `answering.Side`."""
        questions = [(item["context"], item["choices"]) for item in self.requests[case["name"]]]
        nodes = case.get("nodes")
        return lambda: [list(ranked.logprobs) for ranked in rank(self.loaded, questions, nodes=nodes)]


if __name__ == "__main__":
    serve(Xllms)
