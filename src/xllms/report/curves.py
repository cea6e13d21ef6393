"""What the trainers logged: loss, margin and accuracy over the steps, and each language's last loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xllms.records import read_json_lines

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class TrainingLog:
    """The curves of one stage, by quantity (loss, margin, accuracy), and the last validation by language."""

    stage: str
    curves: dict[str, tuple[Curve, ...]]
    final_step: int
    final_losses: dict[str, float]


def read_log(run: Path, stage: str) -> TrainingLog | None:
    """Read `<stage>/metrics.jsonl`; None where it is absent or empty."""
    path = run / stage / "metrics.jsonl"
    if not path.is_file():
        return None
    values = [value for _, value in read_json_lines(path)]
    rows = [value for value in values if isinstance(value, dict) and _finite(value.get("step")) is not None]
    curves = {quantity: _curves(rows, quantity) for quantity in ("loss", "margin", "accuracy")}
    curves = {quantity: found for quantity, found in curves.items() if found}
    if not curves:
        return None
    return TrainingLog(stage, curves, *_final_losses(rows))


def _curves(rows: Sequence[dict[str, Any]], quantity: str) -> tuple[Curve, ...]:
    found = []
    for split in ("train", "validation"):
        # A resumed run logs some steps again: the later line is the one that counts.
        points = {
            float(row["step"]): value
            for row in rows
            if row.get("split") == split and (value := _finite(row.get(quantity))) is not None
        }
        if points:
            found.append(Curve(split, tuple(sorted(points.items()))))
    return tuple(found)


def _final_losses(rows: Sequence[dict[str, Any]]) -> tuple[int, dict[str, float]]:
    """The last validation's losses by language; without a validation, none: one step's batch says little."""
    for row in reversed(rows):
        languages = row.get("languages")
        if row.get("split") == "validation" and isinstance(languages, dict) and languages:
            parts = {code: part for code, part in languages.items() if isinstance(part, dict)}
            losses = {code: _finite(part.get("loss")) for code, part in parts.items()}
            return int(row["step"]), {code: loss for code, loss in losses.items() if loss is not None}
    return 0, {}


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)
