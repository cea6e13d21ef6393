"""What tests of single benchmarks share: asking one for its tables, and judging given answers to its items."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xllms.evaluation.benchmark import Asked, Benchmark, Item, Table
from xllms.evaluation.judging import predictions
from xllms.evaluation.subjects import Output
from xllms.languages import resolve
from xllms.recipe.evaluation import BenchmarkOptions, Protocol
from xllms.records import Prediction


def tables(
    benchmark: Benchmark,
    path: Path | None,
    *languages: str,
    protocol: Protocol = "standard",
    limit: int | None = None,
    **options: Any,
) -> list[Table]:
    """The tables of a benchmark whose files are in that folder, or in the data set of the option `hub`."""
    asked = Asked(resolve(languages), protocol, BenchmarkOptions(path=path, **options), limit=limit)
    return list(benchmark.tables(asked))


def items(benchmark: Benchmark, path: Path | None, language: str, **options: Any) -> tuple[Item, ...]:
    """The items of the only task."""
    ((task,),) = [table.tasks for table in tables(benchmark, path, language, **options)]
    return task.items


def judged(benchmark: Benchmark, table: Table, answers: Sequence[str | Sequence[float]]) -> list[Prediction]:
    """Predictions of the table's first task, for texts or for log-probabilities."""
    task = table.tasks[0]
    outputs = [
        Output(id=item.id, text=answer) if isinstance(answer, str) else Output(id=item.id, logprobs=tuple(answer))
        for item, answer in zip(task.items, answers, strict=True)
    ]
    return predictions(benchmark, table, task, "m", outputs)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
