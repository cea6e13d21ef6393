"""Stage 5 as a whole: every model on every benchmark, then the scores.

Predictions are kept model by model and language by language, each with a digest of what was asked of whom. A benchmark,
a language or a model more is no change of settings: what is there stays, what is missing is asked. A retrained model or
other items are: they are refused until `--overwrite`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from xllms.engines.protocol import Engine
from xllms.errors import InputError
from xllms.evaluation import asking, judge
from xllms.evaluation.benchmark import Asked, Benchmark, Table, Task
from xllms.evaluation.benchmarks import find
from xllms.evaluation.comet_scores import add_comet
from xllms.evaluation.judging import predictions
from xllms.evaluation.scores import summarise
from xllms.evaluation.subjects import Subject
from xllms.languages import resolve
from xllms.manifest import ChangedSettings, StageFolder, fingerprint, read_json, read_manifest, write_atomic
from xllms.predictions import SUFFIX, read_predictions, write_predictions
from xllms.progress import Progress
from xllms.recipe import EvaluationSettings
from xllms.recipe.evaluation import BENCHMARKS
from xllms.records import Prediction

_Rows = dict[str, dict[str, list[Prediction]]]  # task -> model -> predictions
_Cells = tuple[Benchmark, _Rows]
_ASKED = "asked.json"
_UNITS = "units"


@dataclass(frozen=True)
class _Work:
    """One table, asked of one model."""

    benchmark: Benchmark
    table: Table
    subject: Subject
    folder: Path

    def path(self, task: Task) -> Path:
        return self.folder / f"{task.key}{SUFFIX}"

    @property
    def open(self) -> list[Task]:
        return [task for task in self.table.tasks if not self.path(task).exists()]


def run(
    settings: EvaluationSettings,
    instructions: Path,
    subjects: Sequence[Subject],
    folder: Path,
    made_with: Mapping[str, object],
    judge_engine: Engine | None = None,
) -> None:
    """Evaluate the models and write `predictions/` and `scores.json` into `folder`.

    Args:
        settings: benchmarks and limits.
        instructions: folder of stage 1, whose evaluation split `facts` asks.
        subjects: the models, in the order of the tables.
        folder: where the files go.
        made_with: further settings that all predictions depend on, such as the base model and the template.
        judge_engine: who judges, if `settings.judge` is set.

    Raises:
        InputError: a benchmark's file is missing or broken, no held-out facts, a folder made with other settings.
    """
    stage = StageFolder(folder, "evaluation", dict(made_with), {})
    tables = [
        (benchmark, table) for name in settings.benchmarks for benchmark, table in _tables(name, settings, instructions)
    ]
    work = [
        _Work(benchmark, table, subject, folder / "predictions" / table.name / subject.name)
        for subject in subjects
        for benchmark, table in tables
        if subject.can(table)
    ]
    for one in work:
        _check(one)
    if judge_engine is not None and settings.judge is not None:
        judge.check_baseline(settings.judge, {subject.name for subject in subjects})
    finished_with = _finished_with(settings, work)
    if stage.done and not any(one.open for one in work) and _finished(folder) == finished_with:
        return
    stage.begin()
    total = sum(len(task.items) for one in work for task in one.table.tasks)
    with Progress("evaluation", total, "items") as progress:
        for one in work:
            _answer(one, settings.batch_items, progress)
    cells = _made_before(folder / "predictions", {one.table.name for one in work}, [one.name for one in subjects])
    for one in work:
        _, rows = cells.setdefault(one.table.name, (one.benchmark, {}))
        for task in one.table.tasks:
            rows.setdefault(task.key, {})[one.subject.name] = read_predictions(one.path(task))
    cells = {name: _scored_further(name, *cell, settings, judge_engine, folder) for name, cell in cells.items()}
    _finish(stage, cells, [subject.name for subject in subjects], finished_with)


def _finished_with(settings: EvaluationSettings, work: Sequence[_Work]) -> str:
    """What the scores are made of, as a digest."""
    tables = [[one.table.name, one.subject.name, [task.key for task in one.table.tasks]] for one in work]
    further = [settings.judge.model_dump(mode="json") if settings.judge else None, settings.flores.comet]
    return fingerprint([tables, further])


def _finished(folder: Path) -> object:
    return read_manifest(folder).get("finished_with")


def _tables(name: str, settings: EvaluationSettings, instructions: Path) -> Iterator[tuple[Benchmark, Table]]:
    benchmark = find(name)
    asked = Asked(
        resolve(settings.languages),
        settings.protocol,
        settings.options(name),
        settings.data,
        instructions,
        settings.limit,
        settings.max_new_tokens,
    )
    try:
        found = list(benchmark.tables(asked))
    except ValueError as error:  # an item that cannot be
        raise InputError(f"benchmark {benchmark.name}: {error}") from None
    if not any(table.tasks for table in found):
        raise InputError(
            f"benchmark {benchmark.name}: has none of evaluation.languages ({', '.join(settings.languages[:5])}); "
            "name some that it has, or leave it out"
        )
    yield from ((benchmark, table) for table in found if table.tasks)


def _check(work: _Work) -> None:
    """Refuse predictions that were made of other items, or by another model of the same name."""
    path = work.folder / _ASKED
    before: Mapping[str, str] = read_json(path) if path.exists() else {}
    for task in work.table.tasks:
        known = before.get(task.key)
        now = asking.task_identity(work.subject, work.table, task)
        if known is not None and known != now and work.path(task).exists():
            raise ChangedSettings(
                f"{work.path(task)}: was made by another `{work.subject.name}` or of other items. Add `--overwrite` to "
                "evaluate again, or write elsewhere with `--set output=FOLDER`"
            )


def _answer(work: _Work, batch_items: int, progress: Progress) -> None:
    waiting = work.open
    items = sum(len(task.items) for task in waiting)
    progress.skip(sum(len(task.items) for task in work.table.tasks) - items)
    if not waiting:
        return
    units = work.folder / _UNITS
    outputs = asking.ask(work.subject, work.table, waiting, units, batch_items, progress.advance)
    path = work.folder / _ASKED
    asked: dict[str, str] = dict(read_json(path)) if path.exists() else {}
    asked |= {task.key: asking.task_identity(work.subject, work.table, task) for task in waiting}
    write_atomic(path, json.dumps(asked, indent=1, sort_keys=True) + "\n")
    for task in waiting:
        found = predictions(work.benchmark, work.table, task, work.subject.name, outputs[task.key])
        write_predictions(work.path(task), found)
    asking.forget(units)


def _scored_further(
    name: str,
    benchmark: Benchmark,
    rows: _Rows,
    settings: EvaluationSettings,
    judge_engine: Engine | None,
    folder: Path,
) -> _Cells:
    """With what a judge says, and COMET: asked when all models have answered, and kept with the predictions."""
    further = rows
    if judge_engine is not None and settings.judge is not None and benchmark.judged:
        further = judge.judge(further, judge_engine, settings.judge, folder / "judged" / name)
    if benchmark.name == "flores" and settings.flores.comet:
        further = add_comet(further, settings.flores.comet, folder / "comet" / name)
    for key, by_model in further.items():
        for model, found in by_model.items():
            if found != rows[key][model]:
                write_predictions(folder / "predictions" / name / model / f"{key}{SUFFIX}", found)
    return benchmark, further


def _finish(stage: StageFolder, cells: Mapping[str, _Cells], models: Sequence[str], finished_with: str) -> None:
    scores = summarise(models, cells)
    for name, (benchmark, rows) in cells.items():
        if benchmark.judged and (tally := judge.tally(rows)):
            scores["benchmarks"][name]["judge"] = tally
    path = stage.path / "scores.json"
    write_atomic(path, json.dumps(scores, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    counts = {
        name: {key: len(next(iter(by_model.values()))) for key, by_model in rows.items()}
        for name, (_, rows) in cells.items()
    }
    stage.finish({"items": counts, "models": list(models)}, [path], finished_with=finished_with)


def _made_before(folder: Path, now: Set[str], models: Sequence[str]) -> dict[str, _Cells]:
    """Predictions of shipped benchmarks that an earlier call asked for: they stay in the scores."""
    found: dict[str, _Cells] = {}
    for path in sorted(folder.glob(f"*/*/*{SUFFIX}")):
        table, model = path.parts[-3], path.parts[-2]
        name = table.partition(".")[0]
        if table not in now and model in models and name in BENCHMARKS:
            _, rows = found.setdefault(table, (find(name), {}))
            rows.setdefault(path.stem, {})[model] = read_predictions(path)
    return found
