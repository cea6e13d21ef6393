"""COMET added to predictions: what is asked, what is kept, and what is never asked.

`comet-score` here is a script of the test's own that takes unbabel-comet's arguments and writes its form: COMET's
models lie on a hub.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.evaluation.test_stage import Adder
from xllms.errors import InputError, XllmsError
from xllms.evaluation import stage
from xllms.evaluation.comet_scores import add_comet
from xllms.evaluation.subjects import Subject
from xllms.metrics.comet import COMMAND
from xllms.recipe import EvaluationSettings
from xllms.recipe.evaluation import FloresOptions
from xllms.records import Prediction, read_json_lines

MODEL = "Unbabel/wmt22-comet-da"
# Scores a translation by the share of the reference's (or source's) characters that it has; notes each call.
SCRIPT = """\
import argparse, json, pathlib
p = argparse.ArgumentParser()
for name in ("sources", "translations", "references", "model", "gpus", "to_json"):
    p.add_argument("--" + name)
p.add_argument("--quiet", action="store_true")
p.add_argument("--only_system", action="store_true")
a = p.parse_args()
def lines(name):
    return pathlib.Path(name).read_text(encoding="utf-8").removesuffix("\\n").split("\\n")
outputs = lines(a.translations)
with open({log!r}, "a") as log:
    log.write(json.dumps([a.model, bool(a.references), outputs, a.gpus]) + "\\n")
pairs = zip(outputs, lines(a.references or a.sources), strict=True)
scores = [{{"COMET": len(set(o) & set(r)) / len(set(r))}} for o, r in pairs]
pathlib.Path(a.to_json).write_text(json.dumps({{a.translations: scores}}))
"""


class Comet:
    """The command and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log.jsonl"
        script = folder / "comet.py"
        script.write_text(SCRIPT.format(log=str(self.log)), encoding="utf-8")
        self.command = f"{sys.executable} {script}"

    @property
    def calls(self) -> list[tuple[str, bool, list[str]]]:
        return [tuple(call[:3]) for call in self._noted]

    @property
    def gpus(self) -> list[str]:
        return [call[3] for call in self._noted]

    @property
    def _noted(self) -> list[list[Any]]:
        return [call for _, call in read_json_lines(self.log)] if self.log.exists() else []


@pytest.fixture
def comet(tmp_path: Path) -> Comet:
    return Comet(tmp_path)


def row(model: str, key: str, *outputs: str) -> list[Prediction]:
    return [
        Prediction(
            id=f"flores:{key}:{number}",
            benchmark="flores.to_english",
            model=model,
            language="eng_Latn",
            prompt="?",
            output=output,
            reference="abcd",
            source="abcdefgh",
            correct=False,
        )
        for number, output in enumerate(outputs)
    ]


CELLS = {
    "swh_Latn": {"base": row("base", "swh_Latn", "ab", ""), "sft": row("sft", "swh_Latn", "abcd", "abc")},
    "tha_Thai": {"base": row("base", "tha_Thai", "x", "ab")},
}


def values(cells: dict[str, dict[str, list[Prediction]]]) -> dict[str, dict[str, list[float]]]:
    return {
        key: {model: [one.scores["comet"] for one in found] for model, found in by_model.items()}
        for key, by_model in cells.items()
    }


def test_each_model_is_one_call_and_an_empty_answer_none(comet: Comet, tmp_path: Path) -> None:
    found = add_comet(CELLS, MODEL, tmp_path / "comet", comet.command)
    assert values(found) == {
        "swh_Latn": {"base": [0.5, 0.0], "sft": [1.0, 0.75]},
        "tha_Thai": {"base": [0.0, 0.5]},
    }
    # Equal translations of one sentence are one question.
    assert comet.calls == [(MODEL, True, ["ab", "x"]), (MODEL, True, ["abcd", "abc"])]
    assert found["swh_Latn"]["base"][0].model_copy(update={"scores": {}}) == CELLS["swh_Latn"]["base"][0]


def test_what_is_scored_is_not_scored_again(comet: Comet, tmp_path: Path) -> None:
    first = add_comet(CELLS, MODEL, tmp_path / "comet", comet.command)
    assert add_comet(CELLS, MODEL, tmp_path / "comet", comet.command) == first
    assert len(comet.calls) == 2
    changed = {"tha_Thai": {"base": row("base", "tha_Thai", "x", "abcd")}}
    assert values(add_comet(changed, MODEL, tmp_path / "comet", comet.command)) == {"tha_Thai": {"base": [0.0, 1.0]}}
    assert comet.calls[2:] == [(MODEL, True, ["abcd"])]
    kept = [json.loads(line) for line in (tmp_path / "comet" / "base" / "tha_Thai.jsonl").read_text().splitlines()]
    assert [(one["id"], one["score"]) for one in kept] == [("flores:tha_Thai:0", 0.0), ("flores:tha_Thai:1", 1.0)]


def test_another_comet_is_another_score(comet: Comet, tmp_path: Path) -> None:
    add_comet(CELLS, MODEL, tmp_path / "comet", comet.command)
    found = add_comet(CELLS, "Unbabel/wmt22-cometkiwi-da", tmp_path / "comet", comet.command)
    assert [call[:2] for call in comet.calls[2:]] == [("Unbabel/wmt22-cometkiwi-da", False)] * 2
    assert values(found)["swh_Latn"]["sft"] == [0.5, 0.375]


def test_a_comet_that_is_absent_or_fails_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"COMET: no command 'no-such-comet' here; install it"):
        add_comet(CELLS, MODEL, tmp_path / "comet", "no-such-comet")
    with pytest.raises(XllmsError, match="ended with"):
        add_comet(CELLS, MODEL, tmp_path / "comet", f"{sys.executable} -c raise")
    assert not (tmp_path / "comet").exists()


def test_the_recipe_names_the_command_and_the_gpus(comet: Comet, tmp_path: Path) -> None:
    assert (FloresOptions().comet_command, FloresOptions().comet_gpus) == (COMMAND, 0)
    options = FloresOptions(comet=MODEL, comet_command=comet.command, comet_gpus=2)
    add_comet(CELLS, MODEL, tmp_path / "comet", options.comet_command, options.comet_gpus)
    assert comet.gpus == ["2", "2"]
    with pytest.raises(ValidationError, match="comet_gpus"):
        FloresOptions(comet_gpus=-1)


def test_the_stage_calls_comet_as_the_recipe_says(comet: Comet, tmp_path: Path) -> None:
    for code, lines in {"eng_Latn": ["One.", "Two."], "swh_Latn": ["Moja.", "Mbili."]}.items():
        path = tmp_path / "flores" / "devtest" / f"{code}.devtest"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
    flores = {"comet": MODEL, "comet_command": comet.command, "comet_gpus": 1, "directions": ["from_english"]}
    settings = EvaluationSettings.model_validate(
        {"languages": ["Swahili"], "benchmarks": ["flores"], "data": tmp_path, "flores": flores}
    )
    stage.run(settings, tmp_path, [Subject("base", "a", lambda: Adder(says="Moja."))], tmp_path / "evaluation", {})
    assert comet.gpus == ["1"]
    scores = json.loads((tmp_path / "evaluation" / "scores.json").read_text())["benchmarks"]["flores.from_english"]
    assert scores["languages"]["swh_Latn"]["base"]["comet"] > 0.5
