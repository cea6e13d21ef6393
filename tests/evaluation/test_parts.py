"""An evaluation in parts: whoever answers which, the files are those of one process."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import shared_data, write_recipe
from tests.evaluation.test_stage import OWN, Adder
from xllms import pipeline
from xllms.cli.exits import guarded
from xllms.engines.protocol import Sampling, Written
from xllms.errors import InputError, XllmsError
from xllms.evaluation import parts, stage
from xllms.evaluation.benchmark import Item, Task
from xllms.evaluation.subjects import Subject
from xllms.manifest import ChangedSettings, FolderBusy, read_json
from xllms.recipe import EvaluationSettings
from xllms.recipe_file import load_recipe

LANGUAGES = ("Swahili", "German", "Thai", "Arabic", "Yoruba")
MODELS = ("base", "sft")
SIZES = st.lists(st.integers(1, 50), max_size=12)


# ── how the work is cut ─────────────────────────────────────────────────────────────────────────────────────────────


@given(SIZES, st.integers(1, 20))
def test_every_lot_is_in_one_part_and_the_largest_part_is_as_small_as_can_be(sizes: list[int], of: int) -> None:
    shares = [parts.share(sizes, (number, of)) for number in range(1, of + 1)]
    assert [at for share in shares for at in share] == list(range(len(sizes)))
    largest = max(sum(sizes[at] for at in share) for share in shares)
    assert largest == _smallest_possible(sizes, of)


def _smallest_possible(sizes: Sequence[int], of: int) -> int:
    cuts = combinations(range(1, len(sizes)), min(of, len(sizes)) - 1) if sizes else iter([()])
    return min(max(sum(sizes[a:b]) for a, b in pairwise((0, *cut, len(sizes)))) for cut in cuts)


@given(SIZES, st.integers(1, 80))
def test_small_tasks_are_asked_together_and_large_ones_alone(sizes: list[int], batch_items: int) -> None:
    tasks = [
        Task(f"task{number}", "deu_Latn", tuple(Item(f"{number}:{i}", "?", "!") for i in range(size)))
        for number, size in enumerate(sizes)
    ]
    lots = parts.lots(tasks, batch_items)
    assert [task for lot in lots for task in lot] == tasks
    held = [sum(len(task.items) for task in lot) for lot in lots]
    assert all(len(lot) == 1 or size <= batch_items for lot, size in zip(lots, held, strict=True))
    following = [len(lot[0].items) for lot in lots[1:]]
    assert all(size + more > batch_items for size, more in zip(held, following, strict=False))


# ── what the parts write ────────────────────────────────────────────────────────────────────────────────────────────


class Waiting(Adder):
    """An engine that does not answer before all of some processes have asked."""

    def __init__(self, folder: Path, number: int, of: int) -> None:
        super().__init__()
        self._folder, self._number, self._of = folder, number, of

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        (self._folder / f"there-{self._number}").touch()
        deadline = time.monotonic() + 30
        while len(list(self._folder.glob("there-*"))) < self._of:
            assert time.monotonic() < deadline, "the others never came"
            time.sleep(0.005)
        return super().write(prompts, max_new_tokens, sampling, schema=schema)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "sums.py"
    path.write_text(OWN)
    return path


def run(own: Path, engine: Adder, folder: Path, part: tuple[int, int] | None = None, **settings: object) -> list[str]:
    """Evaluate two models of this engine; the models that were loaded."""
    loaded: list[str] = []

    def subject(name: str) -> Subject:
        def load() -> Adder:
            loaded.append(name)
            return engine

        return Subject(name, name, load)

    given = {"languages": LANGUAGES, "benchmarks": (str(own),), "batch_items": 7, **settings}
    asked = EvaluationSettings.model_validate({key: value for key, value in given.items() if key != "made_with"})
    made_with: Any = settings.get("made_with", {})
    stage.run(asked, folder, [subject(name) for name in MODELS], folder / "evaluation", made_with, part=part)
    return loaded


def files(folder: Path) -> dict[str, bytes]:
    """All files of an evaluation; of the manifest, what no clock has measured."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    manifest = json.loads(found["manifest.json"])
    kept = {key: value for key, value in manifest.items() if key not in ("seconds", "peak_memory_gb")}
    return found | {"manifest.json": json.dumps(kept).encode()}


def test_parts_at_once_and_a_last_call_write_what_one_process_writes(own: Path, tmp_path: Path) -> None:
    whole, divided = tmp_path / "whole", tmp_path / "divided"
    divided.mkdir()
    run(own, Adder(), whole)
    code = (
        "import sys; from pathlib import Path; from tests.evaluation import test_parts as t\n"
        "own, folder, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])\n"
        "engine = t.Waiting(folder.parent, number, 3)\n"
        "t.run(own, engine, folder, (number, 3)); print(len(engine.asked))"
    )
    command = [sys.executable, "-c", code, str(own), str(divided)]
    processes = [
        subprocess.Popen(
            [*command, str(number)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        for number in (1, 2, 3)
    ]
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert [int(out) for out, _ in said] == [80, 80, 40]  # ten lots of twenty: at most four to each of three
    assert not (divided / "evaluation" / "scores.json").exists()
    assert not list(divided.rglob("units"))
    last = Adder()
    assert run(own, last, divided) == []
    assert last.asked == []
    got, want = files(divided / "evaluation"), files(whole / "evaluation")
    assert len(want) == 3 + 2 * 2 * 5  # started, manifest, scores; predictions and a note of each model and language
    assert got == want
    assert [path.name for path in divided.iterdir()] == ["evaluation"]


def test_a_part_loads_the_models_of_its_own_and_asks_nobody_elses(own: Path, tmp_path: Path) -> None:
    engines = [Adder(), Adder()]
    assert [run(own, engine, tmp_path, (number, 2)) for number, engine in enumerate(engines, 1)] == [["base"], ["sft"]]
    assert [len(engine.asked) for engine in engines] == [100, 100]


def test_a_killed_part_goes_on_and_leaves_the_others_units_alone(own: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(own, Adder(), whole)
    killed, other, again, last = Adder(dies_after=30), Adder(dies_after=30), Adder(), Adder()
    for number, engine in ((1, killed), (2, other)):  # both are in the middle of the same table of the same model
        with pytest.raises(XllmsError, match="died"):
            run(own, engine, broken, (number, 5))
    units = list(broken.rglob("units/*.jsonl"))
    run(own, again, broken, (1, 5))
    assert len(killed.asked) + len(again.asked) == 40
    assert not set(killed.asked) & set(again.asked)
    left = list(broken.rglob("units/*.jsonl"))
    assert left and set(left) < set(units)
    run(own, last, broken)  # does what the parts have not done
    assert len(killed.asked) + len(other.asked) + len(again.asked) + len(last.asked) == 200
    assert files(broken / "evaluation") == files(whole / "evaluation")


def test_a_part_of_what_is_answered_does_nothing(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(own, Adder(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run(own, Adder(), tmp_path, (2, 4)) == []
    assert capsys.readouterr().err == "evaluation: part 2/4 has nothing to do: all of it is answered\n"
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}


def test_there_may_be_more_parts_than_work(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(own, Adder(), tmp_path, (11, 11)) == []
    assert capsys.readouterr().err == "evaluation: part 11/11 has nothing to do: there is less to divide\n"
    assert [path.name for path in tmp_path.iterdir()] == ["sums.py"]


def test_a_language_more_is_answered_in_parts_too(own: Path, tmp_path: Path) -> None:
    run(own, Adder(), tmp_path, languages=LANGUAGES[:3])
    engines = [Adder() for _ in range(3)]
    for number, engine in enumerate(engines, 1):
        run(own, engine, tmp_path, (number, 3))
    assert sum(len(engine.asked) for engine in engines) == 2 * 2 * 20
    last = Adder()
    run(own, last, tmp_path)
    assert last.asked == []
    scores = read_json(tmp_path / "evaluation" / "scores.json")
    assert len(scores["benchmarks"]["sums"]["languages"]) == 5


def test_a_part_with_other_settings_is_refused(own: Path, tmp_path: Path) -> None:
    run(own, Adder(), tmp_path, (1, 3), made_with={"template": "alpaca"})
    for part in ((2, 3), None):
        with pytest.raises(ChangedSettings, match='template: "alpaca" then, "chat" now'):
            run(own, Adder(), tmp_path, part, made_with={"template": "chat"})
    with pytest.raises(ChangedSettings, match="of other items"):
        run(own, Adder(), tmp_path, (2, 3), made_with={"template": "alpaca"}, limit=5)


def test_no_part_twice_at_once_and_no_whole_beside_a_part(own: Path, tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    code = (
        "import sys; from pathlib import Path; from xllms.manifest import StageFolder\n"
        "with StageFolder(Path(sys.argv[1]), 'evaluation', {}, {}).part('part-1-of-3'):\n"
        "    print('begun', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None and other.stdout.readline() == "begun\n"
        with pytest.raises(FolderBusy, match="at work on part-1-of-3"):
            run(own, Adder(), tmp_path, (1, 3))
        with pytest.raises(FolderBusy, match="on parts of the work"):
            run(own, Adder(), tmp_path)
        beside = Adder()
        run(own, beside, tmp_path, (2, 3))
        assert len(beside.asked) == 80
    finally:
        other.kill()
        other.wait()


def test_the_judge_is_asked_when_all_have_answered(own: Path, tmp_path: Path) -> None:
    own.write_text(OWN.replace('    name = "sums"', '    name = "sums"\n    judged = True'))
    given = {"languages": LANGUAGES, "benchmarks": (str(own),), "batch_items": 7, "judge": {"engine": "tie"}}
    judge = Adder(says='{"winner": "tie"}')
    for part in ((1, 2), (2, 2), None):
        assert judge.asked == []
        subjects = [Subject("base", "base", Adder), Subject("sft", "sft", lambda: Adder(says="7"))]
        folder = tmp_path / "evaluation"
        stage.run(EvaluationSettings.model_validate(given), tmp_path, subjects, folder, {}, judge, part)
    assert judge.asked


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["0/4"], "part 0/4: K/N is the Kth of N parts, with K from 1 to N, such as 3/16"),
        (["5/4"], "part 5/4: K/N is"),
        (["1/0"], "part 1/0: K/N is"),
        (["3"], "--part 3: give K/N, the Kth of N parts, such as 3/16"),
        (["-1/4"], "--part -1/4: give K/N"),
        (["1/4/2"], "--part 1/4/2: give K/N"),
        (["٣/٤"], "give K/N"),
        (["1/4", "--overwrite"], "run it without --overwrite"),
    ],
)
def test_a_part_that_there_is_not_is_one_line(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, tmp_path / "no-model-is-asked-for")
    assert guarded(["evaluate", str(recipe), "--part", *arguments]) == 2
    said = capsys.readouterr()
    assert says in said.err and said.err.count("\n") == 1 and not said.out
    assert not (tmp_path / "run").exists()


def test_only_an_evaluation_is_done_in_parts(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, tmp_path))
    with pytest.raises(InputError, match="only the evaluation is done in parts, not sft, evaluation"):
        pipeline.run(recipe, ("sft", "evaluation"), part=(1, 2))


@pytest.mark.slow
def test_three_commands_at_once_and_a_last_one_write_what_one_writes(tiny_model_folder: Path, tmp_path: Path) -> None:
    """A tiny model and its SFT adapter on the run's facts and on XCOPA, ranked and written."""
    data = shared_data("xcopa").parent
    recipes = [write_recipe(tmp_path / name, tiny_model_folder) for name in ("whole", "divided")]
    pipeline.run(load_recipe(recipes[0]), ("instructions", "sft"))
    shutil.copytree(tmp_path / "whole" / "run", tmp_path / "divided" / "run")
    sets = [f"evaluation.data={data}", "evaluation.benchmarks=[facts, xcopa]", "evaluation.limit=4"]
    more = [word for text in (*sets, "evaluation.xcopa.ways=[ranked, written]") for word in ("--set", text)]

    def start(recipe: Path, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "xllms", "evaluate", str(recipe), *more, *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)

    def finish(processes: Sequence["subprocess.Popen[str]"]) -> list[str]:
        said = [process.communicate(timeout=280)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * len(processes), said
        return said

    finish([start(recipes[0])])
    parted = finish([start(recipes[1], "--part", f"{number}/3") for number in (1, 2, 3)])
    assert all(said.splitlines()[-1].endswith("run/evaluation/predictions") for said in parted)
    assert not (tmp_path / "divided" / "run" / "evaluation" / "scores.json").exists()
    (last,) = finish([start(recipes[1])])
    assert "0.0/s" in last  # nothing is asked again
    got, want = (files(tmp_path / name / "run" / "evaluation") for name in ("divided", "whole"))
    assert len(want) > 20
    assert got == want
