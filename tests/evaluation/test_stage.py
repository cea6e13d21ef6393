"""The evaluation stage: what is there stays, what is missing is asked, and nothing is asked twice."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import shared_data, write_recipe
from xllms import pipeline
from xllms.engines.protocol import Sampling, Usage, Written
from xllms.errors import InputError, XllmsError
from xllms.evaluation import stage
from xllms.evaluation.subjects import Subject
from xllms.manifest import ChangedSettings
from xllms.predictions import read_predictions
from xllms.recipe import EvaluationSettings
from xllms.recipe_file import load_recipe

OWN = """
from collections.abc import Iterator

from xllms.evaluation.benchmark import Asked, Benchmark, Item, Table, Task


class Sums(Benchmark):
    name = "sums"

    def tables(self, asked: Asked) -> Iterator[Table]:
        items = [Item(f"sums:{i}", f"What is {i} + {i}?", str(2 * i)) for i in range(asked.limit or 20)]
        yield Table("sums", [Task(one.code, one.code, tuple(
            Item(f"{one.code}:{item.id}", f"{one.name}: {item.prompt}", item.reference) for item in items
        )) for one in asked.languages], max_new_tokens=4)


benchmark = Sums()
"""


class Adder:
    """An engine that counts what it is asked, and dies when told to."""

    name = "adder"

    def __init__(self, dies_after: int | None = None, says: str = "") -> None:
        self.asked: list[str] = []
        self.usage = Usage()
        self._dies_after, self._says = dies_after, says

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        if self._dies_after is not None and len(self.asked) >= self._dies_after:
            raise XllmsError("the engine died")
        self.asked += [prompt for prompt, _ in prompts]
        return [Written(self._says or str(2 * int(prompt.split()[-1][:-1])), True) for prompt, _ in prompts]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "sums.py"
    path.write_text(OWN)
    return path


def run(own: Path, engine: Adder, folder: Path, identity: str = "a", **settings: object) -> None:
    given = {"languages": ("Swahili", "German"), "benchmarks": (str(own),), "batch_items": 7, **settings}
    subject = Subject("base", identity, lambda: engine)
    stage.run(EvaluationSettings.model_validate(given), folder, [subject], folder / "evaluation", {})


def scores(folder: Path) -> Any:
    return json.loads((folder / "evaluation" / "scores.json").read_text())["benchmarks"]


def test_a_benchmark_of_ones_own_is_a_short_file(own: Path, tmp_path: Path) -> None:
    run(own, Adder(), tmp_path)
    cell = scores(tmp_path)["sums"]["languages"]["swh_Latn"]["base"]
    assert (cell["n"], cell["accuracy"], cell["unparsed"]) == (20, 1.0, 0)
    low, high = cell["intervals"]["accuracy"]
    assert 0.8 < low < 1 and high == 1  # twenty right of twenty are no proof of perfection


def test_a_killed_run_asks_nothing_twice_and_ends_with_the_same_bytes(own: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(own, Adder(), whole)
    first, second = Adder(dies_after=30), Adder()
    with pytest.raises(XllmsError, match="died"):
        run(own, first, broken)
    assert not (broken / "evaluation" / "scores.json").exists()
    assert len(list(broken.rglob("*.parquet"))) == 1  # the language that is finished
    run(own, second, broken)
    assert len(first.asked) == 34  # units of 7, 7 and 6 of one language, two of seven of the other
    assert len(first.asked) + len(second.asked) == 40
    assert not set(first.asked) & set(second.asked)
    files = [path.relative_to(whole) for path in whole.rglob("*.parquet")] + [Path("evaluation/scores.json")]
    assert len(files) == 3
    assert all((whole / path).read_bytes() == (broken / path).read_bytes() for path in files)
    assert not list(broken.rglob("units"))


def test_a_cut_off_unit_is_not_taken_for_a_finished_one(own: Path, tmp_path: Path) -> None:
    with pytest.raises(XllmsError):
        run(own, Adder(dies_after=7), tmp_path)
    (unit,) = tmp_path.rglob("units/*.jsonl")
    unit.rename(unit.with_name(f".part-1-{unit.name}"))  # as a kill while it is written leaves it
    again = Adder()
    run(own, again, tmp_path)
    assert len(again.asked) == 40


def test_a_language_more_is_asked_alone_and_the_others_stay(own: Path, tmp_path: Path) -> None:
    run(own, Adder(), tmp_path)
    more = Adder()
    run(own, more, tmp_path, languages=("Swahili", "German", "Thai"))
    assert len(more.asked) == 20
    assert set(scores(tmp_path)["sums"]["languages"]) == {"swh_Latn", "deu_Latn", "tha_Thai"}
    nothing = Adder()
    run(own, nothing, tmp_path, languages=("Swahili", "German", "Thai"))
    assert nothing.asked == []


def test_a_kill_and_a_language_more_ask_only_what_is_missing(own: Path, tmp_path: Path) -> None:
    first, second = Adder(dies_after=15), Adder()
    with pytest.raises(XllmsError, match="died"):
        run(own, first, tmp_path)
    run(own, second, tmp_path, languages=("Swahili", "German", "Thai"))
    assert len(first.asked) + len(second.asked) == 60
    assert not set(first.asked) & set(second.asked)


def test_fewer_languages_take_nothing_out_of_the_scores(own: Path, tmp_path: Path) -> None:
    run(own, Adder(), tmp_path)
    nothing = Adder()
    run(own, nothing, tmp_path, languages=("German",))
    assert nothing.asked == []
    assert set(scores(tmp_path)["sums"]["languages"]) == {"swh_Latn", "deu_Latn"}


def test_a_corrected_answer_or_rule_is_scored_again_without_asking(own: Path, tmp_path: Path) -> None:
    run(own, Adder(), tmp_path)
    own.write_text(OWN.replace("str(2 * i)", 'str(2 * i) if i else "none"'))
    nothing = Adder()
    run(own, nothing, tmp_path)
    assert nothing.asked == []
    assert scores(tmp_path)["sums"]["languages"]["swh_Latn"]["base"]["accuracy"] == pytest.approx(19 / 20)


def test_a_kill_before_corrected_answers_are_scored_leaves_no_old_scores(own: Path, tmp_path: Path) -> None:
    text = OWN.replace('    name = "sums"', '    name = "sums"\n    judged = True')
    given = {"languages": ("Swahili",), "benchmarks": (str(own),), "judge": {"engine": "tie"}}

    def judged_by(judge: Adder) -> None:
        subjects = [Subject("base", "base", Adder), Subject("sft", "sft", lambda: Adder(says="0"))]
        folder = tmp_path / "evaluation"
        stage.run(EvaluationSettings.model_validate(given), tmp_path, subjects, folder, {}, judge)

    own.write_text(text)
    judged_by(Adder(says="tie"))
    own.write_text(text.replace("str(2 * i)", 'str(2 * i) if i != 3 else "none"'))
    with pytest.raises(XllmsError, match="died"):
        judged_by(Adder(dies_after=0))
    judged_by(Adder(says="tie"))
    assert scores(tmp_path)["sums"]["languages"]["swh_Latn"]["base"]["accuracy"] == pytest.approx(19 / 20)


def test_models_that_answered_other_items_are_held_against_each_other_on_those_in_common(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = own.read_text()
    given = EvaluationSettings.model_validate({"languages": ("Swahili",), "benchmarks": (str(own),)})
    few, many = (Subject(name, name, Adder) for name in ("few", "many"))
    stage.run(given.model_copy(update={"limit": 5}), tmp_path, [few], tmp_path / "evaluation", {})
    own.write_text(text)
    other = tmp_path / "other.py"
    other.write_text(text.replace('"sums"', '"others"').replace("sums:", "others:"))
    stage.run(given.model_copy(update={"limit": 8}), tmp_path, [many], tmp_path / "evaluation", {})
    both = given.model_copy(update={"benchmarks": (str(other),), "limit": 3})
    stage.run(both, tmp_path, [few, many], tmp_path / "evaluation", {})
    assert "sums: left out" in capsys.readouterr().err
    assert scores(tmp_path)["others"]["languages"]["swh_Latn"]["few"]["n"] == 3


def test_half_a_surrogate_pair_stops_nothing(own: Path, tmp_path: Path) -> None:
    run(own, Adder(says="\ud83d broken"), tmp_path)
    (first, *_) = read_predictions(tmp_path / "evaluation/predictions/sums/base/swh_Latn.parquet")
    assert first.output == "? broken"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN.replace('f"{one.code}:{item.id}"', '"one"'), "two items of sums are called `one`"),
        (OWN.replace("Task(one.code,", 'Task("all",'), "two tasks of sums are called `all`"),
        (OWN.replace('Table("sums"', 'Table("facts"'), "a table is called `facts`"),
        (OWN.replace("asked.limit or 20", "0"), "has no items"),
    ],
)
def test_names_that_would_mix_results_are_refused(own: Path, tmp_path: Path, text: str, message: str) -> None:
    own.write_text(text)
    with pytest.raises(InputError, match=message):
        run(own, Adder(), tmp_path)


def test_a_table_without_a_limit_of_its_own_has_the_recipes(own: Path, tmp_path: Path) -> None:
    own.write_text(OWN.replace(", max_new_tokens=4", ""))
    limits = []

    class Noting(Adder):
        def write(self, prompts: Any, max_new_tokens: int, *rest: Any, **more: Any) -> list[Written]:
            limits.append(max_new_tokens)
            return super().write(prompts, max_new_tokens, *rest, **more)

    run(own, Noting(), tmp_path)
    assert set(limits) == {32}


def test_the_limit_of_written_answers_is_no_matter_of_ranked_ones(own: Path, tmp_path: Path) -> None:
    text = OWN.replace("item.reference)", 'item.reference, choices=(" a", " b"), gold=0)')
    own.write_text(text.replace(", max_new_tokens=4", ""))
    asked: list[str] = []

    class Row:
        logprobs, truncated = (-1.0, -2.0), 0

    def rank(questions: Sequence[tuple[str, Sequence[str]]], names: Sequence[str]) -> list[Row]:
        asked.extend(names)
        return [Row() for _ in questions]

    for limit in (32, 64):
        given = {"languages": ("Swahili",), "benchmarks": (str(own),), "max_new_tokens": limit}
        subject = Subject("base", "a", Adder, lambda: rank)
        stage.run(EvaluationSettings.model_validate(given), tmp_path, [subject], tmp_path / "evaluation", {})
    assert len(asked) == 20


def test_another_model_of_the_same_name_or_other_items_are_refused(own: Path, tmp_path: Path) -> None:
    run(own, Adder(), tmp_path)
    with pytest.raises(ChangedSettings, match="made by another `base`"):
        run(own, Adder(), tmp_path, identity="b")
    with pytest.raises(ChangedSettings, match="of other items"):
        run(own, Adder(), tmp_path, limit=5)


def test_answers_of_nothing_and_of_ten_thousand_lines_are_counted(own: Path, tmp_path: Path) -> None:
    empty, long = tmp_path / "empty", tmp_path / "long"
    run(own, Adder(says=" "), empty)
    run(own, Adder(says="habari\n" * 10_000), long)
    assert scores(empty)["sums"]["languages"]["swh_Latn"]["base"] | {"intervals": None} == {
        "n": 20,
        "accuracy": 0.0,
        "intervals": None,
        "unparsed": 20,
    }
    assert scores(long)["sums"]["languages"]["swh_Latn"]["base"]["accuracy"] == 0.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 +", "cannot be read as a benchmark: SyntaxError"),
        ("x = 1", "sets no `benchmark`"),
        (OWN.replace("def tables", "def table"), "cannot be read as a benchmark: TypeError: .*abstract method"),
        (OWN.replace('name = "sums"', "pass"), "its benchmark has no `name`"),
        (OWN.replace('"sums"', '"facts"', 1), "name of a benchmark that is here already"),
    ],
)
def test_a_broken_file_of_ones_own_is_named(own: Path, tmp_path: Path, text: str, message: str) -> None:
    own.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        run(own, Adder(), tmp_path)
    assert str(own) in str(raised.value)


@pytest.fixture(scope="module")
def finished(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run up to sft, evaluated on its facts, then on XCOPA beside them."""
    folder = tmp_path_factory.mktemp("run")
    path = write_recipe(folder, tiny_model_folder)
    pipeline.run(load_recipe(path), ("instructions", "sft", "evaluation"))
    yield path


def test_a_benchmark_more_is_no_change_of_settings(finished: Path) -> None:
    data = shared_data("xcopa").parent
    more = [f"evaluation.data={data}", "evaluation.benchmarks=[facts, xcopa]", "evaluation.limit=4"]
    recipe = load_recipe(finished, [*more, "evaluation.xcopa.ways=[ranked, written]"])
    before = (recipe.output / "evaluation/predictions/facts/sft/swh_Latn.parquet").stat().st_mtime_ns
    pipeline.run(recipe, ("evaluation", "report"))
    after = (recipe.output / "evaluation/predictions/facts/sft/swh_Latn.parquet").stat().st_mtime_ns
    assert before == after
    tables = scores(recipe.output)
    assert set(tables) == {"facts", "xcopa.ranked", "xcopa.written"}
    assert set(tables["xcopa.ranked"]["languages"]) == {"swh_Latn", "tha_Thai"}
    ranked = read_predictions(recipe.output / "evaluation/predictions/xcopa.ranked/sft/swh_Latn.parquet")
    for one in ranked:
        first_wins = one.scores["logprob1"] >= one.scores["logprob2"]
        assert one.parsed == ("0" if first_wins else "1")
        assert one.correct == (one.output == one.reference)
    # The next call that asks for facts alone keeps what was measured.
    pipeline.run(load_recipe(finished, ["evaluation.limit=4"]), ("evaluation",))
    assert set(scores(recipe.output)) == {"facts", "xcopa.ranked", "xcopa.written"}


def test_a_model_that_is_not_there_is_named(finished: Path) -> None:
    with pytest.raises(XllmsError, match=r"no model `dpo` yet; it has base, sft"):
        pipeline.run(load_recipe(finished, ["evaluation.models=[dpo]"]), ("evaluation",))


def test_what_an_engine_refuses_is_counted_and_wrong(own: Path, tmp_path: Path) -> None:
    class Refusing(Adder):
        def write(self, prompts: Any, *rest: Any, **more: Any) -> list[Written]:
            answers = super().write(prompts, *rest, **more)
            long = [prompt.startswith("Swahili: What is 3 ") for prompt, _ in prompts]
            return [Written("", True, "too long") if cut else one for cut, one in zip(long, answers, strict=True)]

    run(own, Refusing(), tmp_path)
    cells = scores(tmp_path)["sums"]["languages"]
    assert (cells["swh_Latn"]["base"]["refused"], cells["swh_Latn"]["base"]["unparsed"]) == (1, 1)
    assert cells["swh_Latn"]["base"]["accuracy"] == pytest.approx(19 / 20)
    assert "refused" not in cells["deu_Latn"]["base"]
