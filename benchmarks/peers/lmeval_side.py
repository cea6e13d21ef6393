"""lm-evaluation-harness' side of `benchmarks/evaluation.py`, run by the Python of its own environment.

    python3 -m venv LM && LM/bin/pip install torch==2.13.0 "lm_eval[hf]==0.4.13"

Tasks are its own XCOPA and PAWS-X, each included by a YAML file that names local files instead of the hub. Their
requests are written down as text before anything is counted, so that the other side is asked the same.
"""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lm_eval
import torch
import yaml
from answering import Case, Scores, serve
from lm_eval.api.task import Task
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers.utils import logging


class LmEval:
    """`HFLM.loglikelihood` on the requests of lm-eval's tasks."""

    version = f"lm_eval {version('lm_eval')}"

    def __init__(self, job: dict[str, Any]) -> None:
        logging.set_verbosity_error()
        self.job = job
        self.model: Any = None
        self.tasks = {name: task(case, Path(job["work"])) for name, case in job["cases"].items()}
        requests = {name: asked(task) for name, task in self.tasks.items()}
        Path(job["requests"]).write_text(json.dumps(requests, ensure_ascii=False))
        self.model = HFLM(
            pretrained=job["model"], dtype=job["dtype"], device="cpu", batch_size=job["lmeval"]["batch_size"]
        )

    def prepare(self, case: Case) -> Callable[[], Scores]:
        """See `answering.Side`."""
        instances = self.tasks[case["name"]].instances
        self.model.batch_size_per_gpu = case.get("batch_size", self.job["lmeval"]["batch_size"])

        def timed() -> Scores:
            scores: dict[int, list[float]] = {}
            answers = self.model.loglikelihood(instances, disable_tqdm=True)
            for instance, (score, _) in zip(instances, answers, strict=True):
                scores.setdefault(instance.doc_id, []).append(score)
            return list(scores.values())

        return timed


def task(case: Case, folder: Path) -> Task:
    """One of lm-eval's tasks on local data, with its requests built as lm-eval's evaluator builds them."""
    name = "local_" + case["name"].replace("/", "_")
    original = next(Path(lm_eval.__file__).parent.glob(f"tasks/*/{case['yaml']}"))
    value: dict[str, Any] = {
        "include": str(original),
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": case["data"]},
        "training_split": None,
        "test_split": "test" if "test" in case["data"] else None,
        "num_fewshot": case["shots"],
        # `first_n` shows the first of the split to every item; by default each item draws its own.
        "fewshot_config": {"sampler": case["sampler"], "split": "validation"},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(value, allow_unicode=True))
    found: Task = TaskManager(include_path=folder, include_defaults=False).load([name])["tasks"][name]
    found.set_fewshot_seed(seed=1234)
    found.build_all_requests(limit=case["limit"])
    return found


def asked(task: Task) -> list[dict[str, Any]]:
    """What each item asks: context, choices and the right one."""
    items: dict[int, dict[str, Any]] = {}
    for instance in task.instances:
        context, choice = instance.args
        gold = task.doc_to_target(instance.doc)
        item = items.setdefault(instance.doc_id, {"context": context, "choices": [], "gold": gold})
        assert item["context"] == context
        item["choices"].append(choice)
    return list(items.values())


if __name__ == "__main__":
    with torch.inference_mode():
        serve(LmEval)
