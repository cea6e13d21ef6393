"""Our side of `benchmarks/training.py`: all that it calls of xllms' training is in this file."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from worker import Case, Timed, lora_parameters, serve

import xllms
from xllms.models import load
from xllms.models.loading import base_of
from xllms.packing.trie import TokenSequence
from xllms.recipe import DpoSettings, LoraSettings, ModelSettings, SftSettings
from xllms.training import trainer
from xllms.training.adapters import add_lora
from xllms.training.dpo import add_reference
from xllms.training.examples import Batch, Example
from xllms.training.objectives import Outcome, sft
from xllms.training.preference_losses import preference


class Xllms:
    """`train` as the stages call it, on examples that are token ids already."""

    version = f"xllms {getattr(xllms, '__version__', '')}".strip()

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        trainer.save_checkpoint = lambda *_: None  # no side writes checkpoints
        self.loaded = load(ModelSettings(name=job["model"], dtype=job["dtype"]), "alpaca")
        lora = job["lora"]
        settings = LoraSettings(r=lora["r"], alpha=lora["alpha"], targets=lora["targets"])
        self.loaded.model = add_lora(base_of(self.loaded), settings)

    def adapter(self) -> dict[str, torch.nn.Parameter]:
        """Its weights by their common names."""
        return lora_parameters(self.loaded.model)

    def prepare(self, case: Case) -> Timed:
        """See `worker.Side`."""
        examples = [
            Example("eng_Latn", tuple(TokenSequence(tuple(p), tuple(c)) for p, c in sequences))
            for sequences in case["examples"]
        ]
        common = {
            "batch_size": len(examples) // case["steps"],
            "learning_rate": self.job["learning_rate"],
            "schedule": "constant",
            "warmup_steps": 0,
            "max_grad_norm": 1e9,
            "max_length": 4096,
            "log_every": 1000,
            "save_every": 1_000_000,
            **self.job.get("xllms", {}).get(case["name"], {}),
        }
        if case["task"] == "sft":
            settings, objective = SftSettings(**common), sft
        else:
            settings = DpoSettings(**common, loss=case["task"], beta=self.job["beta"])
            objective = preference(settings)
        sums: list[tuple[float, int]] = []

        def noting(logprobs: torch.Tensor, batch: Batch) -> Outcome:
            outcome = objective(logprobs, batch)
            sums.append((float(outcome.total.detach()), outcome.items))
            return outcome

        def timed() -> float:
            folder = Path(tempfile.mkdtemp(dir=self.job["work"]))
            ready = examples
            if case["task"] != "sft":
                self.loaded.model.eval()
                ready = add_reference(examples, self.loaded, settings.token_budget, "benchmark", folder)
            trainer.train(
                "sft" if case["task"] == "sft" else "dpo", self.loaded, noting, ready, [], settings, 0, folder
            )
            shutil.rmtree(folder)
            return sum(total for total, _ in sums) / sum(items for _, items in sums)

        return timed


if __name__ == "__main__":
    serve(Xllms)
