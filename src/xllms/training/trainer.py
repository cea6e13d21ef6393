"""The trainer of both training stages: transformers' Trainer, fed with tries, accounting per language.

Trainer gives the optimiser, the schedule, the seeded shuffle, checkpoints and exact resume. What is ours: a batch is a
trie, the loss is an objective over its log-probabilities, and every figure is kept per language.
"""

import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from xllms.errors import InputError, XllmsError
from xllms.manifest import read_json, write_atomic
from xllms.models import Loaded
from xllms.packing.logprobs import token_logprobs
from xllms.progress import Progress
from xllms.recipe import TrainingSettings
from xllms.training.examples import Batch, Example
from xllms.training.metrics_log import LanguageMeans, MetricsLog
from xllms.training.objectives import Objective, Outcome

_COMPLETE = "complete"
_ROOM = 64 << 20  # below this many free bytes a failed write is put down to a full disk


def train(
    stage: str,
    loaded: Loaded,
    objective: Objective,
    examples: Sequence[Example],
    validation: Sequence[Example],
    settings: TrainingSettings,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Train the adapter on `loaded.model`, from the newest whole checkpoint in `folder` if there is one.

    Returns:
        Counts for the stage's manifest: steps, examples, tokens saved by sharing.

    Raises:
        InputError: nothing to train on, or a launch with several processes.
        XllmsError: the loss is not a number, or the disk is full.
    """
    if not examples:
        raise InputError(f"{stage}: no examples to train on; were all longer than {stage}.max_length tokens?")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(f"{stage}: training runs in one process so far; launch it without torchrun")
    checkpoint = newest_checkpoint(folder / "checkpoints")
    log = MetricsLog(folder / "metrics.jsonl", _step(checkpoint) if checkpoint else 0)
    trainer = LanguageTrainer(loaded, objective, examples, validation, settings, seed, folder, log)
    with Progress(stage, trainer.steps, "steps") as progress:
        if checkpoint:
            progress.resume_at(_step(checkpoint))
            trainer.recall(checkpoint)
        trainer.add_callback(_Follow(progress))
        if not checkpoint or _step(checkpoint) < trainer.steps:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    final = trainer.evaluate()
    return {
        "steps": trainer.state.global_step,
        "examples": len(examples),
        "validation_loss": final.get("eval_loss"),
        "nodes": trainer.nodes,
        "tokens_without_sharing": trainer.tokens,
    }


class LanguageTrainer(Trainer):
    """Trainer whose batches are tries and whose figures have a language."""

    def __init__(
        self,
        loaded: Loaded,
        objective: Objective,
        examples: Sequence[Example],
        validation: Sequence[Example],
        settings: TrainingSettings,
        seed: int,
        folder: Path,
        log: MetricsLog,
    ) -> None:
        self.steps = _steps(len(examples), settings)
        super().__init__(
            model=loaded.model,
            args=_arguments(settings, self.steps, seed, folder / "checkpoints", bool(validation), loaded.model),
            train_dataset=list(examples),
            eval_dataset=list(validation),
            data_collator=lambda rows: {"batch": Batch.collate(rows)},
        )
        self.remove_callback(PrinterCallback)
        self.loss_is_scaled_for_ga = True
        self.batching = loaded.batching
        self.objective = objective
        self.means = LanguageMeans()
        self.metrics = log
        self.nodes = self.tokens = 0

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        """Sum over the batch, divided by the items of the whole optimiser step."""
        batch: Batch = inputs["batch"]
        outcome = self._outcome(model, batch)
        self.means.add(outcome, batch.languages)
        self.nodes += len(batch.trie)
        self.tokens += batch.trie.tokens
        if not math.isfinite(float(outcome.total.detach())):
            raise XllmsError(
                f"step {self.state.global_step + 1}: the loss is not a number; "
                "try a lower learning_rate, or model.dtype: float32"
            )
        loss: Tensor = outcome.total / num_items_in_batch
        return loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> int:
        """Items of one optimiser step: scored tokens, or pairs where each example has a reference."""
        batches: list[Batch] = [inputs["batch"] for inputs in batch_samples]
        return sum(len(batch.languages) if batch.reference.numel() else sum(batch.trie.lengths) for batch in batches)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Per-language figures go to metrics.jsonl; transformers' own go to its trackers."""
        means = self.means.take()
        if means:
            rate = {"learning_rate": logs["learning_rate"]} if "learning_rate" in logs else {}
            self.metrics.write(self.state.global_step, "train", {**means, **rate})
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Loss and its kin on the validation examples, per language."""
        means = LanguageMeans()
        rows: list[Example] = self.eval_dataset
        size = self.args.per_device_eval_batch_size
        if not rows:
            return {}
        self.model.eval()
        with torch.inference_mode():
            for start in range(0, len(rows), size):
                batch = Batch.collate(rows[start : start + size])
                means.add(self._outcome(self.model, batch), batch.languages)
        values = means.take()
        self.metrics.write(self.state.global_step, "validation", values)
        return {"eval_loss": values["loss"]}

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: Trainer would look for input_ids."""
        return 0

    def _outcome(self, model: nn.Module, batch: Batch) -> Outcome:
        return self.objective(token_logprobs(model, batch.trie, batching=self.batching), batch)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """A checkpoint counts once `complete` is in it, written last."""
        folder = Path(self.args.output_dir)
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, ValueError) as error:
            if shutil.disk_usage(folder).free < _ROOM:
                raise XllmsError(
                    f"{folder}: no space left on the disk for a checkpoint; free some and run the same command again"
                ) from None
            raise XllmsError(f"{folder}: a checkpoint cannot be written: {error}") from None
        counts = json.dumps({"nodes": self.nodes, "tokens": self.tokens})
        write_atomic(folder / f"checkpoint-{self.state.global_step}" / _COMPLETE, counts)

    def recall(self, checkpoint: Path) -> None:
        """Take up the weights and counts of a checkpoint; Trainer itself would run a step past the last."""
        counts = read_json(checkpoint / _COMPLETE)
        self.nodes, self.tokens = counts["nodes"], counts["tokens"]
        if _step(checkpoint) >= self.steps:
            self._load_from_checkpoint(str(checkpoint))
            self.state.global_step = _step(checkpoint)


class _Follow(TrainerCallback):
    """Moves the progress line, and logs wherever a checkpoint is saved, so that a resume loses no figures."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        loss = state.log_history[-1].get("loss") if state.log_history else None
        self.progress.advance(1, f"loss {loss:.3f}" if loss is not None else "")
        if control.should_save:
            control.should_log = True
        return control


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_COMPLETE}")]
    return max(whole, key=_step, default=None)


def batches(examples: Sequence[Example], size: int) -> Iterator[Sequence[Example]]:
    """The examples in order, `size` at a time."""
    for start in range(0, len(examples), size):
        yield examples[start : start + size]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _steps(examples: int, settings: TrainingSettings) -> int:
    a_step = settings.batch_size * settings.gradient_accumulation
    steps = max(1, math.ceil(math.ceil(examples / a_step) * settings.epochs))
    return min(steps, settings.max_steps or steps)


def _arguments(
    settings: TrainingSettings, steps: int, seed: int, folder: Path, validated: bool, model: nn.Module
) -> TrainingArguments:
    validate = settings.validate_every if validated else None
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=min(settings.warmup_steps, steps // 2),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        max_steps=steps,
        logging_steps=min(settings.log_every, steps),
        logging_nan_inf_filter=False,
        save_steps=settings.save_every,
        save_total_limit=2,
        eval_strategy="steps" if validate else "no",
        eval_steps=validate,
        seed=seed,
        data_seed=seed,
        use_cpu=next(model.parameters()).device.type == "cpu",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
    )
    arguments._n_gpu = 1  # several visible GPUs would be wrapped in DataParallel, which cannot take a trie
    return arguments
