"""Models of several runs on the items that all answered, and answers for people to read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from xllms.comparing import compare, write
from xllms.errors import InputError
from xllms.evaluation.benchmarks import facts, find
from xllms.evaluation.scores import summarise
from xllms.manifest import write_atomic
from xllms.predictions import predictions_folder, read_predictions, write_predictions
from xllms.records import Prediction
from xllms.report import build, scores_table
from xllms.showing import show

HOSTILE = "<script>alert(1)</script>\u202egnp.exe\x07"


def answers(run: Path, model: str, code: str, right: int, of: int = 30, first: int = 0) -> None:
    """Predictions of which the first `right` are right."""
    found = []
    for number in range(first, first + of):
        correct = number < right
        found.append(
            Prediction(
                id=f"{code}:{number}",
                benchmark="facts",
                model=model,
                language=code,
                prompt=f"Question {number}?",
                output="sawa" if correct else HOSTILE,
                parsed="sawa" if correct else None,
                reference="sawa",
                correct=correct,
                verdict="right" if correct else "wrong",
                found_language=None if correct else "eng_Latn",
                scores={"chrf": 100.0 if correct else float(number % 7), "exact_match": float(correct)},
            )
        )
    write_predictions(predictions_folder(run, "facts", model) / f"{code}.parquet", found)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    a, b = tmp_path / "a", tmp_path / "b"
    for code in ("swh_Latn", "deu_Latn"):
        answers(a, "base", code, 5)
        answers(a, "sft", code, 10)
        answers(b, "sft", code, 28 if code == "swh_Latn" else 10)
    return a, b


def test_runs_are_compared_within_each_language(runs: tuple[Path, Path], tmp_path: Path) -> None:
    scores = compare([f"{runs[0]}:sft", str(runs[1])])
    assert scores["models"] == ["a:sft", "b:sft"]
    tests = scores["benchmarks"]["facts"]["tests"]["a:sft|b:sft"]["exact_match"]
    assert tests["swh_Latn"]["p_holm"] < 0.05 < tests["deu_Latn"]["p_holm"]
    table = scores_table(scores)
    assert "better in 1 (Swahili), worse in 0 of 2" in table
    write(scores, tmp_path / "compared")
    page = build(tmp_path / "compared").read_text()
    assert "b:sft" in page


def test_only_what_all_answered_counts(runs: tuple[Path, Path]) -> None:
    answers(runs[1], "sft", "deu_Latn", 40, of=30, first=20)  # ten in common, all of them right in b
    scores = compare([f"{runs[0]}:sft", f"{runs[1]}:sft"])
    cells = scores["benchmarks"]["facts"]["languages"]["deu_Latn"]
    assert cells["a:sft"]["n"] == cells["b:sft"]["n"] == 10
    assert (cells["a:sft"]["exact_match"], cells["b:sft"]["exact_match"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("names", "tables", "message"),
    [
        (["{a}:sft"], [], "two models at least"),
        (["{a}:sft", "{a}:sft"], [], "named twice"),
        (["{a}:sft", "{b}:dpo"], [], "no predictions of `dpo`; .* has sft"),
        (["{a}:sft", "{b}x"], [], "holds no predictions; run `xllms evaluate"),
        (["{a}:sft", "{b}:sft"], ["xcopa"], "share no table of those; there is facts"),
    ],
)
def test_what_cannot_be_compared_is_said(
    runs: tuple[Path, Path], names: list[str], tables: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        compare([name.format(a=runs[0], b=runs[1]) for name in names], tables)


def test_another_right_answer_is_another_version_of_the_data(runs: tuple[Path, Path]) -> None:
    path = predictions_folder(runs[1], "facts", "sft") / "swh_Latn.parquet"
    first, *others = read_predictions(path)
    write_predictions(path, [first.model_copy(update={"reference": "ndiyo"}), *others])
    with pytest.raises(InputError, match="swh_Latn:0 has another right answer"):
        compare([f"{runs[0]}:sft", f"{runs[1]}:sft"])


def test_other_prompts_are_not_compared(runs: tuple[Path, Path]) -> None:
    path = predictions_folder(runs[1], "facts", "sft") / "swh_Latn.parquet"
    found = read_predictions(path)
    write_predictions(path, [one.model_copy(update={"prompt": f"1 + 1?\n2\n\n{one.prompt}"}) for one in found])
    with pytest.raises(InputError, match=r"facts, swh_Latn: item swh_Latn:0 was asked in other words .*shots"):
        compare([f"{runs[0]}:sft", f"{runs[1]}:sft"])


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ca/run", "cb/run", "cb/other"):
        answers(tmp_path / name, "sft", "swh_Latn", 10)
    names = [str(tmp_path / name) for name in ("ca/run", "cb/run", "cb/other")]
    assert compare(names)["models"] == ["ca/run:sft", "cb/run:sft", "other:sft"]
    assert compare(names[1:])["models"] == ["run:sft", "other:sft"]
    monkeypatch.chdir(tmp_path / "ca" / "run")
    assert compare([".", "../../cb/run"])["models"] == ["ca/run:sft", "cb/run:sft"]
    with pytest.raises(InputError, match="named twice"):
        compare([".:sft", "../run"])


@pytest.mark.parametrize("name", ["started.json", "manifest.json", "predictions/facts/sft/swh_Latn.parquet"])
def test_a_comparison_overwrites_no_run(runs: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    scores = compare([f"{runs[0]}:sft", f"{runs[1]}:sft"])
    write_atomic(tmp_path / "c" / "evaluation" / name, "{}")
    write_atomic(tmp_path / "c" / "evaluation" / "scores.json", "{}")
    with pytest.raises(InputError, match="is a run with scores of its own; give another folder"):
        write(scores, tmp_path / "c")
    assert (tmp_path / "c" / "evaluation" / "scores.json").read_text() == "{}"
    assert write(scores, tmp_path / "d") == write(scores, tmp_path / "d"), "an earlier comparison may be replaced"


def test_a_benchmark_file_may_use_all_of_python(tmp_path: Path) -> None:
    own = tmp_path / "riddles.py"
    own.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "from xllms.evaluation.benchmark import Benchmark\n\n\n"
        "@dataclass\nclass Riddle:\n    known: ClassVar[int] = 0\n    text: str = ''\n\n\n"
        "class Riddles(Benchmark):\n    name = 'riddles'\n\n    def tables(self, asked):\n        return []\n\n\n"
        "benchmark = Riddles()\n"
    )
    assert find(str(own)).name == "riddles"
    own.write_text("1 / 0\n")
    with pytest.raises(InputError, match="cannot be read as a benchmark: ZeroDivisionError"):
        find(str(own))
    assert "xllms_own_riddles" not in sys.modules


@pytest.fixture
def evaluated(runs: tuple[Path, Path]) -> Path:
    run = runs[0]
    cells = {
        code: {
            model: read_predictions(predictions_folder(run, "facts", model) / f"{code}.parquet")
            for model in ("base", "sft")
        }
        for code in ("swh_Latn", "deu_Latn")
    }
    scores = summarise(["base", "sft"], {"facts": (facts.benchmark, cells)})
    write_atomic(run / "evaluation" / "scores.json", json.dumps(scores))
    return run


def test_the_worst_answers_are_shown_and_none_of_them_acts_on_the_terminal(evaluated: Path) -> None:
    text = show(evaluated, languages=["Swahili"], worst=3)
    assert "facts, sft: the lowest chrF++ in 1 language" in text
    assert text.count("answer: ") == 3
    assert "wrong language (eng_Latn)" in text
    assert "\u202e" not in text and "\x07" not in text and "⟦U+202E⟧" in text
    assert "right:  sawa" in text
    assert "answer: sawa" not in text
    assert "answer: sawa" in show(evaluated, languages=["swh_Latn"], only="right")
    assert "nothing to show" in show(evaluated, languages=["swh_Latn"], only="undecided")


def test_an_items_name_does_not_act_on_the_terminal_either(evaluated: Path) -> None:
    path = predictions_folder(evaluated, "facts", "sft") / "swh_Latn.parquet"
    found = [one.model_copy(update={"id": f"{HOSTILE}\n{number}"}) for number, one in enumerate(read_predictions(path))]
    write_predictions(path, found)
    text = show(evaluated, languages=["Swahili"], worst=1)
    assert "\u202e" not in text and "\x07" not in text
    assert "⟦U+202E⟧gnp.exe⟦U+0007⟧⟦U+000A⟧" in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"only": "foo"}, "only foo: there is right, wrong, undecided, empty, unparsed"),
        ({"table": "xcopa"}, "no table of scores `xcopa`; there is facts"),
        ({"model": "dpo"}, "no model `dpo`; there is sft, base"),
        ({"languages": ["Thai"]}, "nothing in `Thai`; there is deu_Latn, swh_Latn"),
        ({"languages": ["Klingon"]}, "nothing in `Klingon`"),
    ],
)
def test_what_is_not_there_to_show_is_said(evaluated: Path, given: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        show(evaluated, **given)  # type: ignore[arg-type]


def test_the_commands(evaluated: Path, runs: tuple[Path, Path], tmp_path: Path) -> None:
    def xllms(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "xllms", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    compared = xllms("compare", f"{runs[0]}:sft", f"{runs[1]}:sft", "--output", tmp_path / "compared")
    assert compared.returncode == 0, compared.stderr
    assert compared.stdout.splitlines()[-1] == f"report: {tmp_path / 'compared' / 'report' / 'report.html'}"
    refused = xllms("compare", f"{runs[0]}:sft", f"{runs[1]}:sft", "--output", runs[0])
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is a run with scores of its own" in refused.stderr
    shown = xllms("show", evaluated, "--language", "German", "--only", "unparsed", "--worst", 1)
    assert "(no answer found)" in shown.stdout
    refused = xllms("show", tmp_path / "nothing")
    assert refused.returncode == 2
    assert "holds no scores" in refused.stderr
