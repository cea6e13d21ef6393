"""Stage 5 as a whole: every model on every benchmark, then the scores.

Predictions are kept model by model and language by language (`work`). A benchmark, a language or a model more is no
change of settings: what is there stays, what is missing is asked. A retrained model or other items are: they are
refused until `--overwrite`.

Several processes may do it together: each answers its part (`parts`), and a call without one finds all answered.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from xllms.engines.protocol import Engine
from xllms.errors import InputError
from xllms.evaluation import judge, parts
from xllms.evaluation.benchmark import Asked, Benchmark, Table, Task
from xllms.evaluation.benchmarks import find
from xllms.evaluation.comet_scores import add_comet
from xllms.evaluation.scores import summarise
from xllms.evaluation.subjects import Subject
from xllms.evaluation.work import Work
from xllms.languages import resolve
from xllms.manifest import StageFolder, fingerprint, read_manifest, write_atomic
from xllms.predictions import SUFFIX, read_predictions, write_predictions
from xllms.progress import Progress
from xllms.recipe import EvaluationSettings
from xllms.recipe.evaluation import BENCHMARKS
from xllms.records import Prediction

_Rows = dict[str, dict[str, list[Prediction]]]  # task -> model -> predictions
_Cells = tuple[Benchmark, _Rows]
_Lot = tuple[Work, tuple[Task, ...]]


def run(
    settings: EvaluationSettings,
    instructions: Path,
    subjects: Sequence[Subject],
    folder: Path,
    made_with: Mapping[str, object],
    judge_engine: Engine | None = None,
    part: parts.Part | None = None,
) -> None:
    """Evaluate the models and write `predictions/` and `scores.json` into `folder`.

    Args:
        settings: benchmarks and limits.
        instructions: folder of stage 1, whose evaluation split `facts` asks.
        subjects: the models, in the order of the tables.
        folder: where the files go.
        made_with: further settings that all predictions depend on, such as the base model and the template.
        judge_engine: who judges, if `settings.judge` is set.
        part: (K, N): only answer the Kth of N parts of the work, beside processes that answer the others. What is
            judged and scored when all are answered is left to a call without.

    Raises:
        InputError: a benchmark's file is missing or broken, no held-out facts, a folder made with other settings, no
            such part, or another process at work on it.
    """
    if part is not None:
        parts.check(part)
    stage = StageFolder(folder, "evaluation", dict(made_with), {})
    names = [subject.name for subject in subjects]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"evaluation: two models are called `{twice}`")
    tables = _all_tables(settings, instructions)
    work = [
        Work(benchmark, table, subject, folder / "predictions" / table.name / subject.name)
        for subject in subjects
        for benchmark, table in tables
        if subject.can(table)
    ]
    for one in work:
        one.check()
    if judge_engine is not None and settings.judge is not None:
        judge.check_baseline(settings.judge, set(names))
    lots = [(one, lot) for one in work for lot in parts.lots(one.table.tasks, settings.batch_items)]
    if part is not None:
        _answer_part(stage, lots, settings.batch_items, part)
        return
    finished_with = _finished_with(settings, work, judge_engine)
    if stage.done and not any(one.open or one.misjudged for one in work) and _finished(folder) == finished_with:
        return
    for subject in subjects:
        subject.check()  # before the folder is begun: a typo leaves nothing behind
    stage.begin()
    _answer(lots, settings.batch_items)
    for one in work:
        one.judge_again()
    cells = _answered(folder, work, subjects)
    cells = {name: _scored_further(name, *cell, settings, judge_engine, folder) for name, cell in cells.items()}
    _finish(stage, cells, names, finished_with)


def _answer_part(stage: StageFolder, lots: Sequence[_Lot], batch_items: int, part: parts.Part) -> None:
    number, of = part
    stage.check()
    mine = [lots[at] for at in parts.share([sum(len(task.items) for task in lot) for _, lot in lots], part)]
    still = {(id(one), task.key) for one, _ in _by_work(mine) for task in one.open}
    if not any((id(one), task.key) in still for one, lot in mine for task in lot):
        why = "all of it is answered" if mine else "there is less to divide"
        print(f"evaluation: part {number}/{of} has nothing to do: {why}", file=sys.stderr)
        return
    for subject in dict.fromkeys(one.subject for one, _ in mine):
        subject.check()
    with stage.part(f"part-{number}-of-{of}"):
        _answer(mine, batch_items)


def _answer(lots: Sequence[_Lot], batch_items: int) -> None:
    """Ask what is open of these, model by model."""
    total = sum(len(task.items) for _, lot in lots for task in lot)
    with Progress("evaluation", total, "items") as progress:
        for subject, of_subject in groupby(_by_work(lots), key=lambda pair: pair[0].subject):
            for one, these in of_subject:
                one.answer(these, batch_items, progress)
            subject.release()


def _by_work(lots: Sequence[_Lot]) -> Iterator[tuple[Work, list[tuple[Task, ...]]]]:
    for _, group in groupby(lots, key=lambda lot: id(lot[0])):
        these = list(group)
        yield these[0][0], [lot for _, lot in these]


def _finished_with(settings: EvaluationSettings, work: Sequence[Work], judge_engine: Engine | None) -> str:
    """What the scores are made of, as a digest."""
    tables = [[one.table.name, one.subject.name, [[t.key, one.right(t)] for t in one.table.tasks]] for one in work]
    judging = [settings.judge.model_dump(mode="json"), judge_engine.name] if settings.judge and judge_engine else []
    further = [judging, settings.flores.comet]
    return fingerprint([tables, further])


def _finished(folder: Path) -> object:
    return read_manifest(folder).get("finished_with")


def _all_tables(settings: EvaluationSettings, instructions: Path) -> list[tuple[Benchmark, Table]]:
    tables = [found for name in settings.benchmarks for found in _tables(name, settings, instructions)]
    seen: set[str] = set()
    for benchmark, table in tables:
        keys = [task.key for task in table.tasks]
        ids = [item.id for task in table.tasks for item in task.items]
        for what, names in (("tasks", keys), ("items", ids)):
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise InputError(f"benchmark {benchmark.name}: two {what} of {table.name} are called `{twice}`")
        if table.name in seen or table.name.partition(".")[0] != benchmark.name:
            raise InputError(
                f"benchmark {benchmark.name}: a table is called `{table.name}`; name each `{benchmark.name}` or "
                f"`{benchmark.name}.VARIANT`, and unlike all others"
            )
        seen.add(table.name)
    return tables


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
    for table in found:
        if table.tasks:
            limit = 0 if table.ranked else table.max_new_tokens or asked.max_new_tokens
            yield benchmark, replace(table, max_new_tokens=limit)


def _aligned(name: str, rows: _Rows) -> _Rows:
    """Only items that all models of a task have answered, so that figures and tests are of the same ones."""
    found: _Rows = {}
    for key, by_model in rows.items():
        shared = set.intersection(*({one.id for one in predictions} for predictions in by_model.values()))
        if any(len(predictions) > len(shared) for predictions in by_model.values()):
            print(
                f"{name}, {key}: the models answered {len(shared)} items in common; the others do not count",
                file=sys.stderr,
            )
        found[key] = {
            model: [one for one in predictions if one.id in shared] for model, predictions in by_model.items()
        }
    return {key: by_model for key, by_model in found.items() if all(by_model.values())}


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
    asked = settings.flores
    if benchmark.name == "flores" and asked.comet:
        further = add_comet(further, asked.comet, folder / "comet" / name, asked.comet_command, asked.comet_gpus)
    for key, by_model in further.items():
        for model, found in by_model.items():
            if found != rows[key][model]:
                path = folder / "predictions" / name / model / f"{key}{SUFFIX}"
                said = {one.id: one for one in found}
                write_predictions(path, [said.get(one.id, one) for one in read_predictions(path)])
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


def _answered(folder: Path, work: Sequence[Work], subjects: Sequence[Subject]) -> dict[str, _Cells]:
    """All that these models have answered: table -> its benchmark and predictions."""
    cells = _made_before(folder / "predictions", {one.table.name for one in work}, subjects)
    for one in work:
        _, rows = cells.setdefault(one.table.name, (one.benchmark, {}))
        found = one.made_before() | {task.key: read_predictions(one.path(task)) for task in one.table.tasks}
        for key, predictions in found.items():
            rows.setdefault(key, {})[one.subject.name] = predictions
    return {name: (benchmark, _aligned(name, rows)) for name, (benchmark, rows) in cells.items()}


def _made_before(folder: Path, now: Set[str], subjects: Sequence[Subject]) -> dict[str, _Cells]:
    """Tables of shipped benchmarks that an earlier call asked for stay in the scores, where these models made them."""
    found: dict[str, _Cells] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        name = path.name.partition(".")[0]
        if path.name in now:
            continue
        if name not in BENCHMARKS:
            print(
                f"{path.name}: left out of the scores: its file is not named in evaluation.benchmarks", file=sys.stderr
            )
            continue
        benchmark = find(name)
        rows: _Rows = {}
        for subject in subjects:
            work = Work(benchmark, Table(path.name, ()), subject, path / subject.name)
            for key, predictions in work.made_before().items():
                rows.setdefault(key, {})[subject.name] = predictions
        if rows:
            found[path.name] = (benchmark, rows)
    return found
