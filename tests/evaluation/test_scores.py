"""From predictions to scores: what each figure is of, and what so few items or languages leave open."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from xllms.evaluation.benchmark import Benchmark
from xllms.evaluation.benchmarks import find
from xllms.evaluation.scores import summarise
from xllms.records import Prediction
from xllms.report.summary import scores_table

CODES = ("jpn_Jpan", "kor_Hang", "rus_Cyrl", "tha_Thai", "hin_Deva", "ell_Grek", "heb_Hebr")


def prediction(benchmark: str, code: str, number: int, **more: Any) -> Prediction:
    fields: dict[str, Any] = {"model": "m", "prompt": "?", "output": "A", "reference": "A", "correct": True, **more}
    return Prediction(id=f"{code}:{number}", benchmark=benchmark, language=code, **fields)


def summarised(benchmark: str, rows: Mapping[str, Mapping[str, Sequence[Prediction]]]) -> dict[str, Any]:
    return table_of(find(benchmark), benchmark, rows)[benchmark]


def table_of(benchmark: Benchmark, table: str, rows: Mapping[str, Mapping[str, Sequence[Prediction]]]) -> Any:
    models = list(dict.fromkeys(model for by_model in rows.values() for model in by_model))
    scores = summarise(models, {table: (benchmark, rows)})
    json.dumps(scores, allow_nan=False)
    scores_table(scores)
    return scores["benchmarks"]


def mmlu(code: str, sensitive: int, agnostic: int) -> list[Prediction]:
    kinds = ["CS"] * sensitive + ["CA"] * agnostic
    return [prediction("global_mmlu", code, n, kind=kind, parsed="A") for n, kind in enumerate(kinds)]


def test_a_metric_of_some_items_says_of_how_many() -> None:
    rows = {"swh_Latn": {"m": mmlu("swh_Latn", 3, 17)}, "deu_Latn": {"m": mmlu("deu_Latn", 0, 20)}}
    found = summarised("global_mmlu", rows)
    cell = found["languages"]["swh_Latn"]["m"]
    assert (cell["n"], cell["counted"]) == (20, {"accuracy_sensitive": 3, "accuracy_agnostic": 17})
    assert "counted" not in found["languages"]["deu_Latn"]["m"]
    summary = found["summary"]["m"]
    n = {name: (summary[name]["n"], summary[name]["n_languages"]) for name in summary}
    assert n == {"accuracy": (40, 2), "accuracy_sensitive": (3, 1), "accuracy_agnostic": (37, 2)}
    text = scores_table({"models": ["m"], "benchmarks": {"global_mmlu": found}})
    (line,) = [line for line in text.splitlines() if "culturally sensitive" in line]
    assert line.split()[-2:] == ["1", "3"]


def confusion(code: str, found: Sequence[str], model: str = "m") -> list[Prediction]:
    return [
        prediction("language_confusion", code, n, parsed=what or None, model=model, verdict="right" if what else "")
        for n, what in enumerate(found)
    ]


def test_pass_rates_are_of_what_can_be_judged() -> None:
    answers = ["pass"] * 3 + ["word: a"] * 2 + ["line: 1 of 2 in another language"] + [""] * 4
    cell = summarised("language_confusion", {"jpn_Jpan": {"m": confusion("jpn_Jpan", answers)}})["languages"]
    counted = cell["jpn_Jpan"]["m"]["counted"]
    assert (counted["lpr"], counted["wpr"], counted["lcpr"]) == (6, 5, 6)
    assert "confused" not in counted  # all ten are written


@pytest.mark.parametrize(
    ("answers", "value", "within"),
    [
        (["pass"] * 10, 1.0, (0.65, 1.0)),
        (["word: a"] * 10, 0.0, (0.0, 0.5)),
        (["line: 1 of 1 in another language"] * 10, 0.0, (0.0, 0.5)),
    ],
)
def test_ten_answers_that_are_alike_leave_the_pass_rate_open(
    answers: list[str], value: float, within: tuple[float, float]
) -> None:
    rows = {"jpn_Jpan": {model: confusion("jpn_Jpan", answers, model) for model in ("a", "b")}}
    found = summarised("language_confusion", rows)
    cell = found["languages"]["jpn_Jpan"]["a"]
    low, high = cell["intervals"]["lcpr"]
    assert cell["lcpr"] == value
    assert within[0] <= low <= value <= high <= within[1]
    assert high - low > 0.25
    test = found["tests"]["a|b"]["lcpr"]["jpn_Jpan"]
    assert test["low"] < -0.25 and test["high"] > 0.25


def test_five_wins_of_five_are_no_certainty() -> None:
    scores = [{"judge_unparsed": 0.0, "win_rate": 1.0, "judge_agrees": 1.0}] * 5 + [{"judge_unparsed": 2.0}] * 7
    rows = [prediction("self_instruct", "eng_Latn", n, scores=one) for n, one in enumerate(scores)]
    cell = summarised("self_instruct", {"eng_Latn": {"m": rows}})["languages"]["eng_Latn"]["m"]
    assert cell["counted"]["win_rate"] == cell["counted"]["judge_agreement"] == 5
    assert cell["win_rate"] == 1
    assert cell["intervals"]["win_rate"] == pytest.approx(cell["intervals"]["judge_agreement"])
    assert 0.5 < cell["intervals"]["win_rate"][0] < 0.6
    assert cell["intervals"]["chrf"] == pytest.approx([75.75, 100.0], abs=0.1)  # all twelve as the reference is


def test_mean_over_best_is_only_of_what_should_be_high() -> None:
    failed = "line: 1 of 2 in another language"
    rows = {
        code: {"m": confusion(code, ["pass"] * (10 - wrong) + [failed] * wrong)} for wrong, code in enumerate(CODES, 1)
    }
    summary = summarised("language_confusion", rows)["summary"]["m"]
    assert summary["confused"]["mean"] == pytest.approx(0.4)
    assert summary["confused"]["democratization"] is None
    assert summary["off_target"]["democratization"] is None
    assert summary["lpr"]["democratization"] == pytest.approx(0.6 / 0.9)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_few_languages_are_not_called_better(count: int) -> None:
    rows = {
        code: {
            "base": [prediction("facts", code, n, correct=False, output="x", model="base") for n in range(9)],
            "sft": [prediction("facts", code, n, model="sft") for n in range(9)],
        }
        for code in CODES[:count]
    }
    found = summarised("facts", rows)
    comparison = next(one for one in found["comparisons"] if one["metric"] == "exact_match")
    summary = found["summary"]["sft"]["exact_match"]
    text = scores_table({"models": ["base", "sft"], "benchmarks": {"facts": found}})
    (line,) = [line for line in text.splitlines() if "Exact match" in line and "→" in line and "Holm" not in line]
    if count < 5:
        assert (comparison["low"], comparison["high"], summary["low"], summary["high"]) == (None,) * 4
        assert line.endswith("too few languages to tell")
        assert "  –  " in line
    else:
        assert (comparison["low"], comparison["high"], summary["low"]) == (1.0, 1.0, 1.0)
        assert comparison["p"] < 0.05
        assert line.endswith("better")
