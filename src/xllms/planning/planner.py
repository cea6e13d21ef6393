"""From a recipe to its plan: the parts of this folder put together, stage by stage."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xllms.languages import get
from xllms.planning import disk
from xllms.planning.at_hand import tokenizer_at_hand
from xllms.planning.data import Data, Parts, instruction_data
from xllms.planning.generation_work import Generation, benchmark_tables, evaluation_work, feedback_work
from xllms.planning.gpu_memory import GpuMemory, asking_memory, frozen_bytes, training_memory
from xllms.planning.measured import Held, held
from xllms.planning.model_size import ModelSize, model_size
from xllms.planning.options import Options
from xllms.planning.pairs import Pairs, feedback_prompts, training_pairs
from xllms.planning.run_plan import LanguageRow, RunPlan, StagePlan
from xllms.planning.speed import Run, Speed, speed
from xllms.planning.tokens import TokenCounter
from xllms.planning.training_work import CPU_NODES, GPU_NODES, Load, tokens_of, training_load
from xllms.recipe import GoogleSettings, Recipe, TrainingSettings
from xllms.records import Instruction, Prompt
from xllms.token_report import Text, token_report


def plan(recipe: Recipe, options: Options = Options()) -> RunPlan:
    """What running a recipe will take, without a GPU, a network, or the model's weights.

    Args:
        recipe: as `xllms run` takes it; what its folder holds already is read.
        options: machines, price, and what is not at hand.

    Raises:
        InputError: a stage has no data, a file cannot be read, or nothing is known of the model's size.
    """
    return _Planner(recipe, options).plan()


class _Planner:
    def __init__(self, recipe: Recipe, options: Options) -> None:
        self.recipe, self.options = recipe, options
        self.size: ModelSize = model_size(recipe.model.name, options.parameters)
        self.held: Held = held(recipe)
        done = self.held.finished
        template = tokenizer_at_hand(recipe.model.name, recipe.template)
        self.counter = TokenCounter(template, recipe.template, self.size.shape.vocabulary)
        self.data: Data = instruction_data(recipe, "instructions" in done, options.data)
        self.prompts: Parts = feedback_prompts(recipe, self.data)
        self.pairs: Pairs = training_pairs(recipe, self.prompts, "feedback" in done)
        lora = recipe.sft.tuning == "lora"
        self.adapter = self.size.adapter(recipe.sft.lora.r, recipe.sft.lora.targets) if lora else None
        self.loads: dict[str, Load] = {
            "sft": self._load("sft", self.data.splits["train"], recipe.sft, recipe.sft.loss_on == "all"),
            "dpo": self._load("dpo", self.pairs.parts, recipe.dpo),
        }
        tables, self.absent = benchmark_tables(recipe)
        self.asked: dict[str, Generation] = {
            "feedback": feedback_work(recipe, self.prompts, self.counter),
            "evaluation": evaluation_work(recipe, self.data, self.counter, tables),
        }
        self.speed: Speed = speed(options.gpu, options.efficiency, options.measured_on, self._runs())

    def plan(self) -> RunPlan:
        stages = (
            self._instructions(),
            self._training("sft"),
            self._asking("feedback"),
            self._training("dpo"),
            self._asking("evaluation"),
        )
        model = {"name": self.size.name, "weights": self.size.total, "source": self.size.source}
        if self.adapter is not None:
            model["adapter"] = self.adapter
        gpu = self.speed.gpu.name if self.speed.gpu else None
        return RunPlan(self.recipe.output, model, gpu, stages, self._languages(), self._sources(), self._notes(stages))

    def _load(self, stage: str, parts: Parts, settings: TrainingSettings, everything: bool = False) -> Load:
        processes = self.options.gpus.get(stage, 1)
        budget = GPU_NODES if self.options.gpu or self.options.measured_on else CPU_NODES
        return training_load(parts, settings, self.recipe.seed, self.counter, processes, budget, everything)

    def _instructions(self) -> StagePlan:
        stage = self._status("instructions")
        fees = 0.0
        translation = self.recipe.instructions.translation
        if translation is not None:
            first = self.recipe.translators.get(translation.translators[0])
            fees = self.data.translated * first.price / 1e6 if isinstance(first, GoogleSettings) else 0.0
        size = (
            _size(self.recipe.output / "instructions") if stage.status == "done" else disk.instructions_bytes(self.data)
        )
        seconds = self.held.finished.get("instructions", {}).get("seconds")
        return replace(
            stage,
            records=self.data.records,
            disk_bytes=size,
            money=fees,
            hours=None if seconds is None else seconds / 3600,
        )

    def _training(self, name: str) -> StagePlan:
        load, settings = self.loads[name], getattr(self.recipe, name)
        gpus = self.options.gpus.get(name, 1)
        tensors = self._tensors()
        size = disk.training_bytes(self.size, self.adapter, tensors, load, settings)
        if name == "dpo":
            size += 60.0 * self.pairs.count
        records = self.pairs.count if name == "dpo" else _count(self.data.splits["train"])
        operations = self._operations(name, load.nodes, load.scored)
        planned = replace(
            self._status(name),
            records=records,
            examples=load.examples,
            steps=load.steps,
            tokens=load.tokens,
            nodes=load.nodes,
            operations=operations,
            gpus=gpus,
            disk_bytes=size,
            memory=self._training_memory(settings, name, gpus),
        )
        if planned.status == "done":
            return self._done(planned)
        return self._timed(planned, self.speed.of_training(operations, self._wide(name), gpus))

    def _asking(self, name: str) -> StagePlan:
        work, wide = self.asked[name], self._wide(name)
        read, written = self._asked_operations(work)
        streamed = work.decode_steps * frozen_bytes(self.size, self.recipe.model, wide)
        size = (
            disk.feedback_bytes(work, self.pairs.parts, self.pairs.held_back)
            if name == "feedback"
            else disk.evaluation_bytes(work)
        )
        planned = replace(
            self._status(name),
            records=work.prompts,
            tokens=work.read + work.written,
            nodes=work.read,
            operations=read + written,
            gpus=1,
            disk_bytes=size,
            memory=asking_memory(self.size, self.recipe.model, self.speed.gpu) if self.speed.gpu else None,
        )
        if planned.status == "done":
            return self._done(planned)
        return self._timed(planned, self.speed.of_asking(read, written, streamed, wide), work.fees)

    def _training_memory(self, settings: TrainingSettings, name: str, gpus: int) -> GpuMemory | None:
        gpu = self.speed.gpu
        if gpu is None:
            return None
        return training_memory(name, self.size, self.recipe.model, settings, self.adapter, gpu, gpus)

    def _done(self, planned: StagePlan) -> StagePlan:
        """A finished stage with what its manifest says."""
        manifest = self.held.finished[planned.stage]
        counts: Mapping[str, Any] = manifest.get("counts", {})
        hours = manifest["seconds"] / 3600
        gpus = counts.get("processes", 1)
        found = replace(
            planned,
            hours=hours,
            gpus=gpus,
            gpu_hours=hours * gpus,
            disk_bytes=_size(self.recipe.output / planned.stage),
        )
        if "nodes" in counts:
            load = self.loads[planned.stage]
            scored = load.scored * counts["nodes"] / max(1.0, load.nodes)
            found = replace(
                found,
                examples=counts["examples"],
                steps=counts["steps"],
                nodes=counts["nodes"],
                tokens=counts["tokens_without_sharing"],
                operations=self._operations(planned.stage, counts["nodes"], scored),
            )
        return found

    def _timed(self, stage: StagePlan, seconds: float | None, fees: float = 0.0) -> StagePlan:
        hours = None if seconds is None else seconds / 3600
        gpu_hours = None if hours is None else hours * (stage.gpus or 1)
        price = self.options.price
        money = None if price is None or gpu_hours is None else price * gpu_hours + fees
        return replace(stage, hours=hours, gpu_hours=gpu_hours, money=money)

    def _status(self, stage: str) -> StagePlan:
        if stage in self.held.finished:
            return StagePlan(stage, "done")
        return StagePlan(stage, "again" if stage in self.held.changed else "to do")

    def _operations(self, stage: str, nodes: float, scored: float) -> float:
        """Two a weight forward, as many for the gradient of what flows through it, and of what is trained."""
        load, settings = self.loads[stage], getattr(self.recipe, stage)
        factor = 6 if self.adapter is None else 4
        once = self.size.in_layers * nodes + self.size.head * scored
        total = factor * once + (2 * self.size.in_layers * nodes if settings.gradient_checkpointing else 0)
        if self.adapter is not None:
            total += 6 * self.adapter * nodes
        if stage == "dpo" and settings.loss.needs_reference:
            total += 2 * (self.size.in_layers * load.once + self.size.head * load.once_scored)
        return total + self._validation(stage, load, settings)

    def _validation(self, stage: str, load: Load, settings: TrainingSettings) -> float:
        parts = self.data.splits["validation"] if stage == "sft" else self.pairs.held_back
        times = 1 + ((load.steps - 1) // settings.validate_every if settings.validate_every and load.steps else 0)
        shared = load.nodes / max(1.0, load.tokens)
        scored = load.scored / max(1.0, load.tokens)
        tokens = tokens_of(parts, self.counter)
        return 2 * times * tokens * (self.size.in_layers * shared + self.size.head * scored)

    def _asked_operations(self, work: Generation) -> tuple[float, float]:
        read = 2 * (self.size.in_layers * work.read + self.size.head * work.scored)
        return read, 2 * (self.size.in_layers + self.size.head) * work.written

    def _wide(self, stage: str) -> int:
        """Bytes of the numbers that are multiplied: all weights under DDP are held, and run, in float32."""
        model, settings = self.recipe.model, getattr(self.recipe, stage)
        whole = self.adapter is None and stage in self.loads and settings.parallel == "ddp"
        return 4 if whole or model.dtype == "float32" else 2

    def _tensors(self) -> int:
        """How many are trained: two for each matrix with an adapter, or all."""
        shape = self.size.shape
        each = 4 if shape.model_type == "bloom" else 7
        if self.adapter is None:
            return shape.layers * (each + 4)
        targets = self.recipe.sft.lora.targets
        return 2 * shape.layers * (each if isinstance(targets, str) else len(targets))

    def _runs(self) -> list[Run]:
        runs = []
        for name in ("dpo", "sft", "evaluation", "feedback"):
            manifest = self.held.finished.get(name)
            if manifest is None or not manifest.get("seconds"):
                continue
            counts = manifest.get("counts", {})
            if name in self.loads:
                load = self.loads[name]
                operations = self._operations(
                    name, counts["nodes"], load.scored * counts["nodes"] / max(1.0, load.nodes)
                )
            else:
                operations = sum(self._asked_operations(self.asked[name]))
            asks = name in self.asked
            runs.append(Run(name, operations, manifest["seconds"], counts.get("processes", 1), asks, self._wide(name)))
        return sorted(runs, key=lambda run: run.stage != "sft")

    def _languages(self) -> tuple[LanguageRow, ...]:
        sft = {row.code: row for row in self.loads["sft"].languages}
        dpo = {row.code: row for row in self.loads["dpo"].languages}
        fertility = self._fertility()
        total = sum(row.tokens for rows in (sft, dpo) for row in rows.values()) or 1.0
        rows = []
        for code in {**sft, **dpo}:
            one, other = sft.get(code), dpo.get(code)
            spent = (one.tokens if one else 0.0, other.tokens if other else 0.0)
            measured, unit = fertility.get(code, (None, "word"))
            each = one.tokens_each if one else 0.0
            rows.append(
                LanguageRow(
                    code, get(code).name, one.examples if one else 0, each, measured, unit, *spent, sum(spent) / total
                )
            )
        return tuple(sorted(rows, key=lambda row: (-row.share, row.code)))

    def _fertility(self) -> dict[str, tuple[float, str]]:
        if self.counter.template is None:
            return {}
        texts = [
            Text(code, one.output, None, "")
            for code, part in self.data.splits["train"].items()
            for one in part.sample
            if isinstance(one, (Instruction, Prompt)) and not part.text_in
        ]
        if not texts:
            return {}
        report = token_report(texts, self.counter.template, self.size.name, ())
        return {row.code: (row.fertility, row.unit) for row in report.languages}

    def _sources(self) -> dict[str, str]:
        exact = "" if self.loads["sft"].exact else "; of a sample of records and steps, the rest taken to be alike"
        return {
            "weights": self.size.source,
            "records": self.data.source,
            "pairs": self.pairs.source,
            "tokens": self.counter.source + exact,
            "speed": self.speed.source,
            "answers": "ASSUMED: as long as the references; the base model's as long as the limit",
            "memory": "ESTIMATED from the model's shape, not measured on a GPU",
        }

    def _notes(self, stages: Sequence[StagePlan]) -> tuple[str, ...]:
        notes = list(self.data.notes) + list(self.absent)
        for work in self.asked.values():
            notes += work.notes
        notes += [f"{s.stage}: {s.memory.advice}" for s in stages if s.memory and not s.memory.fits]
        notes += [f"{stage}: made with other settings: to be made again (--overwrite)" for stage in self.held.changed]
        if self.recipe.instructions.translation is not None:
            notes.append("instructions: the time of translators and of the teacher is not counted")
        gpu = self.options.gpu
        if gpu is not None and not gpu.has_bfloat16:
            notes.append(f"{gpu.name} has no bfloat16: xllms runs in float32 there")
        elif self.adapter is None and "ddp" in (self.recipe.sft.parallel, self.recipe.dpo.parallel):
            notes.append(
                "all weights are trained in float32 under parallel: ddp; fsdp multiplies in bfloat16, on one GPU too"
            )
        if self.recipe.model.quantization == "nf4":
            notes.append("4-bit weights are unpacked at every layer, which takes time that is not counted")
        notes.append(
            "not counted: start-up, loading and fetching of the model, checkpoints and a third while it is written, "
            "queues, attention's own work, keys and values, what short passes lose; memory is that of full passes"
        )
        if too_long := {name: load.too_long for name, load in self.loads.items() if load.too_long}:
            notes += [
                f"{name}: {number:,} records of over max_length are left out" for name, number in too_long.items()
            ]
        return tuple(dict.fromkeys(notes))


def _count(parts: Parts) -> int:
    return sum(part.count for part in parts.values())


def _size(folder: Path) -> float:
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
