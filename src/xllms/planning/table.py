"""A plan for the terminal: stages, memory, languages, and where every figure comes from; and the same as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from xllms.planning.gpu_memory import GpuMemory
from xllms.planning.run_plan import LanguageRow, RunPlan, StagePlan

NONE = "–"
_SHOWN = 15  # languages, unless all are asked for
_HEADS = (
    "stage", "", "records", "examples", "steps", "tokens", "after sharing", "FLOPs", "GPUs", "wall", "GPU hours",
    "disk", "money",
)  # fmt: skip


def format_plan(plan: RunPlan, *, all_languages: bool = False) -> str:
    """The plan as text, ending in a line break."""
    weights = f"{_number(plan.model['weights'])} weights"
    adapter = f", {_number(plan.model['adapter'])} of them in the adapter" if "adapter" in plan.model else ""
    adapter = adapter.replace(" of them", "")
    where = f"on {plan.gpu}" if plan.gpu else "where its stages ran so far"
    blocks = [
        f"{plan.output}: {plan.model['name']} ({weights}{adapter}), {where}",
        _aligned([_HEADS, *map(_stage, plan.stages), _total(plan)], left=2),
        _memory(plan.stages),
        _languages(plan.languages, all_languages),
        "\n".join(["where the figures come from", *(f"  {key}: {text}" for key, text in plan.sources.items())]),
    ]
    if plan.notes:
        blocks.append("\n".join(["to know", *(f"  {note}" for note in plan.notes)]))
    return "\n\n".join(block for block in blocks if block) + "\n"


def as_json(plan: RunPlan) -> str:
    """The plan as one JSON object, ending in a line break."""
    value = {**asdict(plan), "output": str(plan.output), "total": plan.total}
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _stage(stage: StagePlan) -> list[str]:
    counts = [NONE if n is None else f"{n:,}" for n in (stage.records, stage.examples, stage.steps)]
    return [
        stage.stage,
        stage.status,
        *counts,
        _number(stage.tokens),
        _number(stage.nodes),
        _number(stage.operations),
        NONE if stage.gpus is None else f"{stage.gpus}",
        _hours(stage.hours),
        _plain(stage.gpu_hours),
        _bytes(stage.disk_bytes),
        _plain(stage.money),
    ]


def _total(plan: RunPlan) -> list[str]:
    total = plan.total
    return [
        "to do in all",
        *[""] * 6,
        _number(total["operations"]),
        "",
        _hours(total["hours"]),
        _plain(total["gpu_hours"]),
        _bytes(total["disk_bytes"]),
        _plain(total["money"]),
    ]


def _memory(stages: Sequence[StagePlan]) -> str:
    lines = ["memory of one GPU"]
    for stage in stages:
        if stage.memory is not None and stage.status != "done":
            lines.append(f"  {stage.stage}: {_held(stage.memory)}")
    return "\n".join(lines) if len(lines) > 1 else ""


def _held(memory: GpuMemory) -> str:
    parts = [
        f"{name} {_bytes(value)}"
        for name, value in (
            ("frozen weights", memory.weights),
            ("trained weights with gradients and optimiser", memory.trained),
            ("activations", memory.activations),
        )
        if value
    ]
    if memory.available is None:
        return f"{_bytes(memory.total)} ({', '.join(parts)})"
    verdict = "fits" if memory.fits else f"DOES NOT FIT: {memory.advice}"
    return f"{_bytes(memory.total)} of {_bytes(memory.available)} ({', '.join(parts)}): {verdict}"


def _languages(rows: Sequence[LanguageRow], everything: bool) -> str:
    if not rows:
        return ""
    listed = rows if everything or len(rows) <= _SHOWN + 1 else rows[:_SHOWN]
    heads = ["language", "records", "tokens each", "tok/word", "tok/char", "sft tokens", "dpo tokens", "share"]
    lines = [heads]
    for row in listed:
        fertility = NONE if row.fertility is None else f"{row.fertility:.2f}"
        lines.append(
            [
                f"{row.name} ({row.code})",
                f"{row.records:,}",
                f"{row.tokens_each:.1f}",
                fertility if row.unit == "word" else NONE,
                fertility if row.unit == "character" else NONE,
                _number(row.sft_tokens),
                _number(row.dpo_tokens),
                f"{row.share:.1%}",
            ]
        )
    rest = rows[len(listed) :]
    if rest:
        sums = [sum(getattr(row, key) for row in rest) for key in ("records", "sft_tokens", "dpo_tokens", "share")]
        more = f"{len(rest)} more (--all-languages)"
        lines.append([more, f"{sums[0]:,}", "", "", "", _number(sums[1]), _number(sums[2]), f"{sums[3]:.1%}"])
    return _aligned(lines, left=1)


def _aligned(rows: Sequence[Sequence[str]], left: int) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _plain(value: float | None) -> str:
    """Two decimals, or one digit of what is less."""
    if value is None:
        return NONE
    return f"{value:,.2f}" if value >= 0.05 or value == 0 else f"{value:.1g}"


def _number(value: float | None) -> str:
    """Three digits and a power of ten in letters: 7.07 G."""
    if value is None:
        return NONE
    for unit, name in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g} {name}" if value < 999.5 * unit else f"{value / unit:,.0f} {name}"
    return f"{value:.3g}"


def _bytes(value: float | None) -> str:
    return NONE if value is None else f"{_number(value)}B"


def _hours(value: float | None) -> str:
    if value is None:
        return NONE
    if value < 1 / 60:
        return f"{3600 * value:.1f} s"
    return f"{60 * value:.0f} min" if value < 2 else f"{value:.1f} h"
