"""Win rates: each model's answers held against a baseline's by an engine, in both orders, once all have answered.

Verdicts are kept language by language, each with a digest of who judged which two answers, so that a killed run goes on
and a verdict is never taken for one on other answers. Two equal answers are a tie and an empty one loses to one that is
not, without asking: a judge that reads `Answer B` twice still prefers one of them. What an order decided is half of a
point; an item counts when both orders brought a verdict, and what is unparsed is counted, not guessed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from xllms.engines.judging import Case, judge_pairs
from xllms.engines.protocol import Engine
from xllms.errors import InputError
from xllms.evaluation.benchmark import Metric
from xllms.manifest import fingerprint, write_atomic
from xllms.metrics.item_statistics import ItemStatistics, mean_of, rate
from xllms.recipe.evaluation import JudgeOptions
from xllms.records import Prediction, Record, read_jsonl, to_jsonl

Cells = Mapping[str, Mapping[str, Sequence[Prediction]]]  # task -> model -> predictions
METRICS: Mapping[str, Metric] = {
    "win_rate": Metric("Win rate", scale=1),
    "judge_agreement": Metric("Judge's two orders agree", scale=1),
}


_SCORES = frozenset({"win_rate", "judge_agrees", "judge_unparsed"})


class Judged(Record):
    """A verdict on one item, from the model's side: 1 a win, 0.5 a tie, 0 a loss, None unparsed.

    Attributes:
        asked: digest of the judge and of what it was shown.
        forward: where the model's answer was shown first.
        backward: where it was shown second.
        by_rule: nobody was asked.
    """

    id: str
    asked: str
    forward: float | None
    backward: float | None
    by_rule: bool = False

    @property
    def scores(self) -> dict[str, float]:
        """As a prediction keeps them."""
        found: dict[str, float] = {"judge_unparsed": (self.forward is None) + (self.backward is None)}
        if self.forward is not None and self.backward is not None:
            found["win_rate"] = (self.forward + self.backward) / 2
            if not self.by_rule:
                found["judge_agrees"] = float(self.forward == self.backward)
        return found


def judge(
    cells: Cells,
    engine: Engine,
    options: JudgeOptions,
    folder: Path,
    advance: Callable[[int, str], None] = lambda count, label: None,
) -> dict[str, dict[str, list[Prediction]]]:
    """The same predictions, those of all models but the baseline with what the judge says of them.

    Args:
        cells: of one table; a model that the baseline has no answers beside is left as it is.
        engine: who judges.
        options: of the recipe.
        folder: where this table's verdicts are kept: `MODEL-vs-BASELINE/TASK.jsonl`.
        advance: told of items that were judged, with a label.

    Raises:
        InputError: the baseline is none of the models, or has answered other items.
        EngineError: the engine cannot go on; finished languages are kept.
    """
    check_baseline(options, {model for by_model in cells.values() for model in by_model})
    found: dict[str, dict[str, list[Prediction]]] = {}
    for key, by_model in cells.items():
        found[key] = {model: [_unjudged(one) for one in predictions] for model, predictions in by_model.items()}
        for model in by_model:
            if model == options.baseline or options.baseline not in by_model:
                continue
            path = folder / f"{model}-vs-{options.baseline}" / f"{key}.jsonl"
            verdicts = _verdicts(by_model[model], by_model[options.baseline], engine, options, path)
            found[key][model] = [
                one.model_copy(update={"scores": {**one.scores, **verdict.scores}})
                for one, verdict in zip(found[key][model], verdicts, strict=True)
            ]
            advance(len(verdicts), f"{model} against {options.baseline}, {key}")
    return found


def _unjudged(one: Prediction) -> Prediction:
    """Without what an earlier judge, or the same against another baseline, has said of it."""
    return one.model_copy(update={"scores": {k: v for k, v in one.scores.items() if k not in _SCORES}})


def check_baseline(options: JudgeOptions, models: set[str]) -> None:
    """See that there is somebody to hold the others against, before hours go into their answers.

    Raises:
        InputError: the baseline is none of the models, or the only one.
    """
    if options.baseline not in models:
        raise InputError(
            f"evaluation.judge.baseline: no model `{options.baseline}` is evaluated ({', '.join(sorted(models))}); "
            "name one of these, or add it to evaluation.models or evaluation.engines"
        )
    if len(models) == 1:
        raise InputError(f"evaluation.judge: `{options.baseline}` is the only model; there is none to hold against it")


def statistics(predictions: Sequence[Prediction]) -> dict[str, ItemStatistics]:
    """Win rate, 0 to 1, and how often the two orders say the same; nothing where the predictions were not judged."""
    if not all("judge_unparsed" in one.scores for one in predictions):
        return {}
    decided = np.array(["win_rate" in one.scores for one in predictions])
    asked = ["judge_agrees" in one.scores for one in predictions]
    found = {}
    if any(decided):
        points = mean_of([one.scores.get("win_rate", 0.0) for one in predictions])
        # An item without a verdict counts in neither column of the mean.
        found["win_rate"] = replace(points, rows=points.rows * decided[:, None])
    if any(asked):
        found["judge_agreement"] = rate([one.scores.get("judge_agrees") == 1 for one in predictions], asked)
    return found


def tally(cells: Cells) -> dict[str, dict[str, dict[str, int]]]:
    """What stands behind the win rates: task -> model -> items won, tied, lost, without a verdict, ..."""
    return {
        key: {
            model: _counts(found)
            for model, found in by_model.items()
            if all("judge_unparsed" in one.scores for one in found)
        }
        for key, by_model in cells.items()
    }


def _counts(predictions: Sequence[Prediction]) -> dict[str, int]:
    points = [one.scores["win_rate"] for one in predictions if "win_rate" in one.scores]
    return {
        "judged": len(points),
        "won": sum(value > 0.5 for value in points),
        "tied": sum(value == 0.5 for value in points),
        "lost": sum(value < 0.5 for value in points),
        "unparsed": len(predictions) - len(points),
        "orders_agree": sum(one.scores.get("judge_agrees") == 1 for one in predictions),
        "orders_disagree": sum(one.scores.get("judge_agrees") == 0 for one in predictions),
    }


def _verdicts(
    model: Sequence[Prediction], baseline: Sequence[Prediction], engine: Engine, options: JudgeOptions, path: Path
) -> list[Judged]:
    """One verdict per item; what is in the file is not asked again."""
    if [one.id for one in model] != [other.id for other in baseline]:
        raise InputError(
            f"{path.parent.name}, {path.stem}: the two have not answered the same items; evaluate both with one recipe"
        )
    cases = [_case(one, other) for one, other in zip(model, baseline, strict=True)]
    digests = [_digest(case, engine, options) for case in cases]
    asked = dict(zip(digests, cases, strict=True))
    known = {one.asked: one for one in read_jsonl(path, Judged)} if path.exists() else {}
    known |= {digest: rule for digest, case in asked.items() if (rule := _rule(case, digest))}
    waiting = {digest: case for digest, case in asked.items() if digest not in known}
    said = judge_pairs(engine, list(waiting.values()), options.max_new_tokens)
    for digest, verdict in zip(waiting, said, strict=True):
        known[digest] = Judged(id="", asked=digest, forward=verdict.forward, backward=verdict.backward)
    found = [known[digest].model_copy(update={"id": one.id}) for one, digest in zip(model, digests, strict=True)]
    if waiting or not path.exists():
        write_atomic(path, to_jsonl(found))
    return found


def _case(one: Prediction, other: Prediction) -> Case:
    return Case(one.prompt, "", one.output, other.output, one.language, one.reference)


def _digest(case: Case, engine: Engine, options: JudgeOptions) -> str:
    shown = [case.instruction, case.first, case.second, case.language, case.reference]
    return fingerprint([engine.name, options.max_new_tokens, shown])[:32]


def _rule(case: Case, digest: str) -> Judged | None:
    """What needs no judge."""
    first, second = case.first.strip(), case.second.strip()
    if first != second and first and second:
        return None
    points = 0.5 if first == second else float(bool(first))
    return Judged(id="", asked=digest, forward=points, backward=points, by_rule=True)
