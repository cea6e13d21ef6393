"""The plan of a run: stage after stage what there is to do, what it takes, and where each figure comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xllms.planning.gpu_memory import GpuMemory


@dataclass(frozen=True)
class StagePlan:
    """One stage; what is not known, or has no meaning for the stage, is none.

    Attributes:
        stage: its name.
        status: `to do`, `done` with its real figures, or `again` where it was made with other settings.
        records: records made, prompts asked, or pairs there are.
        examples: distinct ones trained on.
        steps: optimiser steps.
        tokens: run if no prefix were shared; of models that are asked, read and written.
        nodes: run with prefixes shared, read ones alone where models are asked.
        operations: floating-point operations.
        gpus: that share the work.
        hours: of wall time.
        gpu_hours: these times the GPUs.
        disk_bytes: of the stage's folder when it is done.
        money: GPU hours at the price, and what servers and translators charge.
        memory: of one GPU.
    """

    stage: str
    status: str
    records: int | None = None
    examples: int | None = None
    steps: int | None = None
    tokens: float | None = None
    nodes: float | None = None
    operations: float | None = None
    gpus: int | None = None
    hours: float | None = None
    gpu_hours: float | None = None
    disk_bytes: float | None = None
    money: float | None = None
    memory: GpuMemory | None = None


@dataclass(frozen=True)
class LanguageRow:
    """What a language costs.

    Attributes:
        code: FLORES code.
        name: in English.
        records: to train on.
        tokens_each: of one of them with its prompt.
        fertility: tokens of a word of the answers; none where no tokenizer is at hand.
        unit: `word`, or `character` in scripts without spaces.
        sft_tokens: trained on in sft, without sharing.
        dpo_tokens: likewise in dpo.
        share: of both.
    """

    code: str
    name: str
    records: int
    tokens_each: float
    fertility: float | None
    unit: str
    sft_tokens: float
    dpo_tokens: float
    share: float


@dataclass(frozen=True)
class RunPlan:
    """The whole plan.

    Attributes:
        output: the run's folder.
        model: its name, weights, and where this is known from.
        gpu: name of the GPU that is planned for; none: the machine of the finished stages.
        stages: in order.
        languages: the dearest first.
        sources: what -> where its figures come from.
        notes: what is not counted, and what else there is to know.
        total: sums over the stages that are still to be run.
    """

    output: Path
    model: Mapping[str, Any]
    gpu: str | None
    stages: tuple[StagePlan, ...]
    languages: tuple[LanguageRow, ...]
    sources: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())

    @property
    def total(self) -> dict[str, float | None]:
        """Sums over the stages that are still to be run; none where one of those that take time or money is unknown."""
        left = [stage for stage in self.stages if stage.status != "done"]
        timed = [stage for stage in left if stage.stage != "instructions"]
        found: dict[str, float | None] = {}
        for key in ("operations", "hours", "gpu_hours", "disk_bytes", "money"):
            values = [getattr(stage, key) for stage in (left if key in ("disk_bytes", "money") else timed)]
            known = [value for value in values if value is not None]
            lacking = len(known) < len(values) and key in ("hours", "gpu_hours", "money")
            found[key] = None if lacking else sum(known)
        return found
