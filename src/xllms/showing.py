"""Predictions for people to read: `xllms show` prints the worst ones, each with all that was made of it."""

from collections.abc import Sequence
from pathlib import Path

from xllms.errors import InputError, one_line, visible
from xllms.evaluation.benchmark import Metric
from xllms.languages import UnknownLanguage, get
from xllms.manifest import read_json
from xllms.predictions import SUFFIX, predictions_folder, read_predictions
from xllms.records import Prediction

_LONGEST = 600
_ONLY = ("right", "wrong", "undecided", "empty", "unparsed")


def show(
    run: Path, table: str = "", model: str = "", languages: Sequence[str] = (), worst: int = 5, only: str = ""
) -> str:
    """The worst predictions of a model, as text.

    Args:
        run: its folder.
        table: of scores, such as xcopa.ranked; the first if not given.
        model: base, sft or dpo; the last if not given.
        languages: names or codes; none: all.
        worst: how many of each language.
        only: right, wrong, undecided or empty: the language of the answer; unparsed; none: all.

    Raises:
        InputError: no such run, table, model or language, or nothing that `only` may be.
    """
    if only and only not in _ONLY:
        raise InputError(f"show --only {only}: there is {', '.join(_ONLY)}")
    scores = read_json(run / "evaluation" / "scores.json") if (run / "evaluation" / "scores.json").exists() else {}
    tables = list(scores.get("benchmarks", {}))
    table = _one_of(table, tables, "table of scores", run)
    by_key = scores["benchmarks"][table]["languages"]
    model = _one_of(
        model, [m for m in scores["models"] if any(m in row for row in by_key.values())][::-1], "model", run
    )
    metric, about = next(iter(scores["benchmarks"][table]["metrics"].items()))
    keys = [_key(name, by_key, table) for name in languages] or sorted(by_key)
    folder = predictions_folder(run, table, model)
    parts = [
        _one(prediction, metric)
        for key in keys
        for prediction in _worst(read_predictions(folder / f"{key}{SUFFIX}"), metric, Metric(**about), worst, only)
    ]
    head = f"{table}, {model}: the lowest {about['label']} in {len(keys)} language{'s' if len(keys) != 1 else ''}"
    return "\n\n".join([head, *(parts or ["nothing to show"]), f"all of them: {folder}"])


def _one_of(given: str, there: Sequence[str], what: str, run: Path) -> str:
    if not there:
        raise InputError(f"{run}: holds no scores; run `xllms evaluate RECIPE` first")
    if given and given not in there:
        raise InputError(f"{run}: no {what} `{given}`; there is {', '.join(there)}")
    return given or there[0]


def _key(name: str, there: Sequence[str], table: str) -> str:
    if name in there:
        return name
    try:
        code = get(name).code
    except UnknownLanguage:
        code = ""
    if code not in there:
        raise InputError(f"{table}: nothing in `{name}`; there is {', '.join(sorted(there)[:12])} ...")
    return code


def _worst(found: Sequence[Prediction], metric: str, about: Metric, worst: int, only: str) -> list[Prediction]:
    kept = [p for p in found if not only or only == p.verdict or (only == "unparsed" and p.parsed is None)]
    sign = 1 if about.higher_is_better else -1
    return sorted(kept, key=lambda p: sign * p.scores.get(metric, float(p.correct)))[:worst]


def _one(p: Prediction, metric: str) -> str:
    language = p.verdict and f"{p.verdict} language" + (f" ({p.found_language})" if p.verdict == "wrong" else "")
    scores = ", ".join(f"{name} {value:g}" for name, value in p.scores.items())
    lines = [
        one_line(f"{p.id}  [{p.language}]  {scores}" + (f"  {language}" if language else "")),
        f"  asked:  {_text(p.prompt)}",
        f"  answer: {_text(p.output) or '(nothing)'}",
    ]
    if p.parsed != p.output.strip():
        lines.append(f"  read:   {'(no answer found)' if p.parsed is None else _text(p.parsed)}")
    return "\n".join([*lines, f"  right:  {_text(p.reference)}"])


def _text(text: str) -> str:
    shown = visible(text).replace("\n", "\n          ")
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({len(text)} characters)"
