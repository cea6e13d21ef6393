"""The trainer of both training stages: passes of the plan, an objective over log-probabilities, one optimiser step.

A loop of our own, since a pass is a trie of any number of examples and a step any number of passes: what transformers'
Trainer knows of (batches, their shapes, their order) is what is different here. Gradients are summed over passes and
processes and divided by the items of the whole step, so that neither the token budget nor the number of processes
changes the result by more than rounding.
"""

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from xllms import stopping
from xllms.errors import InputError, XllmsError
from xllms.languages import get
from xllms.manifest import StageFolder, write_atomic
from xllms.models import Loaded
from xllms.models.loading import base_of
from xllms.packing import TokenSequence, Trie, token_logprobs
from xllms.packing.logprobs import Batching
from xllms.processes import say
from xllms.progress import Progress
from xllms.recipe import TrainingSettings
from xllms.training.adapters import save_tuned
from xllms.training.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint, step_of
from xllms.training.examples import Batch, Example
from xllms.training.metrics_log import LanguageMeans, MetricsLog, means
from xllms.training.mix import draw_order, format_mix, mix_as_json, plan_mix
from xllms.training.objectives import Objective, Outcome
from xllms.training.optimizer import adamw, learning_rate
from xllms.training.parallel import Processes, shard, whole_weights
from xllms.training.plan import Cost, Plan, deal, token_budget
from xllms.training.stop_together import agreed, stop_with_all_kept, stop_with_nothing_done
from xllms.training.tracking import Trackers

_DUMMY = Trie.build([TokenSequence((0,), (0,))])


def train(
    stage: str,
    loaded: Loaded,
    objective: Objective,
    examples: Sequence[Example],
    validation: Sequence[Example],
    settings: TrainingSettings,
    seed: int,
    folder: Path,
    tracking: Sequence[str] = (),
) -> dict[str, Any]:
    """Train what is trainable in `loaded.model`, from the newest whole checkpoint in `folder` if there is one.

    Args:
        stage: `sft` or `dpo`, for messages.
        loaded: the model; under `parallel: fsdp` it is sharded in place.
        objective: what is minimised.
        examples: to train on.
        validation: whose figures are followed.
        settings: steps, budget, optimiser.
        seed: of the order.
        folder: of the stage; gets `metrics.jsonl`, `mix.json` and `checkpoints/`.
        tracking: trackers beside `metrics.jsonl`.

    Returns:
        Counts for the stage's manifest: steps, examples, tokens saved by sharing.

    Raises:
        InputError: nothing to train on, a tracker that is not installed.
        Stopped: this was asked for (`xllms.stopping`); what was done is in a checkpoint.
        XllmsError: the loss is not a number, memory or disk is full.
    """
    if not examples:
        raise InputError(f"{stage}: no examples to train on; were all longer than {stage}.max_length tokens?")
    trainer = Trainer(stage, loaded, objective, examples, validation, settings, seed, folder)
    trackers = Trackers(tracking if trainer.processes.main else (), stage, folder, trainer.steps, loaded.model)
    with contextlib.closing(trackers):
        trainer.run(trackers)
    return trainer.counts()


def finish(stage: StageFolder, loaded: Loaded, counts: Mapping[str, Any]) -> None:
    """Keep what was tuned and write the stage's manifest, on the main process; the others wait for it.

    Raises:
        Stopped: this was asked for meanwhile: what comes after the stage would not be finished.
        XllmsError: the disk is full.
    """
    processes = Processes(base_of(loaded).device)
    sharded = any(isinstance(p, DTensor) for p in loaded.model.parameters())
    adapter = isinstance(loaded.model, PeftModel)
    weights = whole_weights(loaded.model, only_trained=adapter) if sharded else None
    if processes.main:
        stage.finish(counts, save_tuned(loaded.model, loaded.template, stage.path, weights))
    if agreed(processes):
        stop_with_all_kept(processes, stage.stage)


class LogProbabilities(nn.Module):
    """A causal language model as it is used here: a trie in, log-probabilities out. FSDP2 shards this."""

    def __init__(self, model: nn.Module, batching: Batching) -> None:
        super().__init__()
        self.model = model
        self.batching = batching

    def forward(self, trie: Trie) -> Tensor:
        """(S,) log-probabilities of the trie's scored pairs."""
        return token_logprobs(self.model, trie, batching=self.batching)


class Trainer:
    """One training run of one process; see `train` for the arguments."""

    def __init__(
        self,
        stage: str,
        loaded: Loaded,
        objective: Objective,
        examples: Sequence[Example],
        validation: Sequence[Example],
        settings: TrainingSettings,
        seed: int,
        folder: Path,
    ) -> None:
        self.stage, self.objective, self.settings, self.seed, self.folder = stage, objective, settings, seed, folder
        self.examples, self.validation = examples, validation
        causal_lm = base_of(loaded)
        self.processes = Processes(causal_lm.device, sharded=settings.parallel == "fsdp")
        self.cost = Cost(token_budget(settings.token_budget, causal_lm.device), head_cost(causal_lm))
        self.plan = self._plan()
        self.steps = min(len(self.plan), settings.max_steps or len(self.plan))
        if settings.gradient_checkpointing:
            from xllms.packing import enable_gradient_checkpointing

            enable_gradient_checkpointing(causal_lm)
        self.model = LogProbabilities(loaded.model, loaded.batching)
        if self.processes.sharded:
            shard(self.model, causal_lm, self.processes)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.processes.start_alike(self.parameters)
        self.optimizer = adamw(self.parameters, settings)
        self.figures = LanguageMeans()
        self.nodes = self.tokens = 0
        self.validation_loss: float | None = None
        self.begun_at = 0  # steps that earlier processes did
        self.stopping = False  # all processes have agreed to stop

    def _plan(self) -> Plan:
        languages = [example.language for example in self.examples]
        lengths = [example.tokens for example in self.examples]
        shares = plan_mix(languages, lengths, self.settings.sampling, self.settings.epochs)
        order = draw_order(languages, shares, self.seed)
        say(f"{self.stage}: {len(order):,} examples in {math.ceil(len(order) / self.settings.batch_size):,} steps")
        say(format_mix(shares))
        if self.processes.main:
            write_atomic(self.folder / "mix.json", json.dumps(mix_as_json(shares), indent=1) + "\n")
        unseen = sorted(set(languages) - {example.language for example in self.validation})
        if self.validation and unseen:
            named = ", ".join(get(code).name for code in unseen[:5]) + (", ..." if len(unseen) > 5 else "")
            say(f"{self.stage}: {len(unseen)} languages have no validation examples to follow: {named}")
        return Plan(self.examples, order, self.settings.batch_size, self.cost, self.processes.size)

    def run(self, trackers: Trackers) -> None:
        """All steps that are left, then a last validation."""
        checkpoint = newest_checkpoint(self.folder / "checkpoints")
        self.begun_at = step_of(checkpoint) if checkpoint else 0
        log = MetricsLog(self.folder / "metrics.jsonl", self.begun_at, writes=self.processes.main)
        with Progress(self.stage, self.steps, "steps", quiet=not self.processes.main) as progress:
            progress.resume_at(self.begun_at)
            if checkpoint:
                self._resume(checkpoint, log, trackers)
            self.model.train()
            for step in range(self.begun_at, self.steps):
                figures = self._step(step)
                progress.advance(1, f"loss {figures['loss']:.3f}")
                self._after(step + 1, figures, log, trackers)
        if not self._validate(self.steps, log, trackers):
            self._stop(self.steps)

    def _resume(self, checkpoint: Path, log: MetricsLog, trackers: Trackers) -> None:
        facts = load_checkpoint(checkpoint, self.model, self.optimizer)
        if self.processes.main:
            self.nodes, self.tokens = facts["nodes"], facts["tokens"]
        self.figures.put_back(facts.get("unlogged", ()), self.processes.rank, self.processes.size)
        if facts.get("validation_due") and not self._validate(self.begun_at, log, trackers):
            self._stop(self.begun_at)

    def _step(self, step: int) -> dict[str, float]:
        """One optimiser step; the figures of this step alone."""
        torch.manual_seed(hash((self.seed, step, self.processes.rank)) % (1 << 62))  # adapter dropout alone draws
        loss = items = 0.0
        bad: list[str] = []
        for members in self.plan.passes(step, self.processes.rank):
            outcome = self._guarded_pass(step, members)
            loss += float(outcome.total.detach())
            items += outcome.items
            if members:
                rows = [self.examples[i] for i in members]
                self.figures.add(outcome, [row.language for row in rows])
                finite = outcome.loss.isfinite().tolist()
                bad += [row.id or row.language for row, fine in zip(rows, finite, strict=True) if not fine]
        failed, asked = bool(bad) or not math.isfinite(loss), bool(stopping.asked())
        loss, items, any_failed, any_asked = self.processes.total(loss, items, failed, asked)
        if any_failed:
            self._refuse(step, bad, "the loss is not a number")
        self.stopping = any_asked > 0
        if self.stopping and step == self.begun_at:
            self._stop(step)
        self.processes.sum_gradients(self.parameters, items)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        if not math.isfinite(float(norm)):
            self._refuse(step, [], "the gradient is not a number")
        rate = learning_rate(self.settings, step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {"loss": loss / items, "grad_norm": round(float(norm), 6), "learning_rate": rate}

    def _guarded_pass(self, step: int, members: Sequence[int]) -> Outcome:
        try:
            return self._pass(members)
        except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            largest = max(self.examples[i].nodes for i in members)
            raise XllmsError(
                f"step {step + 1}: out of memory in a pass of {len(members)} examples; set "
                f"{self.stage}.token_budget: {max(largest, self.cost.budget // 2)} (same result; "
                f"the largest example of this pass has {largest} nodes), or gradient_checkpointing: true"
            ) from None

    def _pass(self, members: Sequence[int]) -> Outcome:
        """Forward and backward of one pass; gradients are those of the sum."""
        if not members:  # under FSDP2 every process must call its layers as often as the others
            nothing = self.model(_DUMMY).sum() * 0 if self.processes.sharded else torch.zeros(())
            if self.processes.sharded:
                nothing.backward()
            return Outcome(nothing, 0, torch.zeros(0), torch.zeros(0))
        batch = Batch.collate([self.examples[i] for i in members])
        outcome = self.objective(self.model(batch.trie), batch)
        self.nodes += len(batch.trie)
        self.tokens += batch.trie.tokens
        outcome.total.backward()  # type: ignore[no-untyped-call]
        return outcome

    def _refuse(self, step: int, bad: Sequence[str], what: str) -> None:
        """Fail on every process, naming the records."""
        ids = [name for part in self.processes.gather(list(bad)) for name in part]
        if not ids:
            ids = [self.examples[i].id or self.examples[i].language for i in self.plan.step(step)]
        named = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
        raise XllmsError(
            f"step {step + 1}: {what} (records: {named}); look at these records, try a lower learning_rate, "
            "or model.dtype: float32"
        )

    def _after(self, done: int, figures: dict[str, float], log: MetricsLog, trackers: Trackers) -> None:
        """What follows a step: a line in the log, a validation, a checkpoint, when they are due; the end, if asked."""
        settings = self.settings
        saving = done % settings.save_every == 0 or done == self.steps
        if saving or done % settings.log_every == 0:
            values = means(self.processes.gather(self.figures.take()))
            values.update({key: figures[key] for key in ("grad_norm", "learning_rate")})
            log.write(done, "train", values)
            trackers.log(done, "train", values)
        validating = done < self.steps and settings.validate_every is not None and done % settings.validate_every == 0
        if validating and not self.stopping:
            validating = not self._validate(done, log, trackers)
        if saving or self.stopping:
            self._save(done, validation_due=validating)
        if self.stopping:
            self._stop(done)

    def _save(self, done: int, *, validation_due: bool) -> None:
        nodes, tokens = self.processes.total(self.nodes, self.tokens)
        facts = {
            "nodes": int(nodes),
            "tokens": int(tokens),
            "unlogged": self.processes.gather(self.figures.take()),
            "validation_due": validation_due,
        }
        save_checkpoint(self.folder / "checkpoints", done, self.model, self.optimizer, facts, self.processes)

    def _stop(self, done: int) -> NoReturn:
        """End as asked; `done` steps are in a checkpoint."""
        if done > self.begun_at:
            stop_with_all_kept(self.processes, f"step {done} of {self.steps}")
        stop_with_nothing_done("the first step" if done < self.steps else "the last validation")

    def _validate(self, done: int, log: MetricsLog, trackers: Trackers) -> bool:
        """Log the figures of the validation examples; False if it was given up to stop as asked."""
        if not self.validation:
            return True
        found = LanguageMeans()
        self.model.eval()
        hands = deal(self.validation, range(len(self.validation)), self.cost, self.processes.size)
        with torch.no_grad():
            for members in hands[self.processes.rank]:
                self.stopping = agreed(self.processes)
                if self.stopping:
                    return False
                rows = [self.validation[i] for i in members]
                batch = Batch.collate(rows) if rows else None
                if batch is not None:
                    found.add(self.objective(self.model(batch.trie), batch), batch.languages)
                elif self.processes.sharded:
                    self.model(_DUMMY)
        self.model.train()
        values = means(self.processes.gather(found.take()))
        self.validation_loss = values["loss"]
        log.write(done, "validation", values)
        trackers.log(done, "validation", values)
        return True

    def counts(self) -> dict[str, Any]:
        """What the stage's manifest keeps."""
        nodes, tokens = self.processes.total(self.nodes, self.tokens)
        return {
            "steps": self.steps,
            "examples": len(self.examples),
            "validation_loss": self.validation_loss,
            "processes": self.processes.size,
            "nodes": int(nodes),
            "tokens_without_sharing": int(tokens),
        }


def head_cost(model: Any) -> float:
    """Weights of the output head over those that run for every node: the price of a scored position, in nodes."""
    head = model.get_output_embeddings()
    lookups = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    seen = {id(p): p.numel() for p in model.parameters() if p.ndim >= 2 and id(p) not in lookups}
    seen.pop(id(head.weight), None)
    return float(head.weight.numel() / max(1, sum(seen.values())))


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
