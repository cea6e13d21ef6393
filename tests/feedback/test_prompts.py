"""Prompts without answers: real ones joined over languages, what is broken, and what they cannot be used for."""

import json
import lzma
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.feedback.cross_lingual import cross_prompts, wordings
from xllms.feedback.prompts import read_prompts
from xllms.formats import BadRecord
from xllms.recipe.data import PromptFile
from xllms.records import Instruction, Prompt
from xllms.splits import prompt_key

LANGUAGES = {
    "bn": "ben_Beng",
    "de": "deu_Latn",
    "en": "eng_Latn",
    "es": "spa_Latn",
    "fr": "fra_Latn",
    "ru": "rus_Cyrl",
    "sw": "swh_Latn",
    "th": "tha_Thai",
    "zh": "zho_Hans",
}
COLUMNS = {"parallel_id": "instruction_id"}


def ultrafeedback(folder: Path, names: Sequence[str], count: int) -> list[PromptFile]:
    """The first prompts of real files in these languages, as a user would name them."""
    files = []
    for name in names:
        with lzma.open(shared_data("ultrafeedback_parallel", f"{name}.jsonl.xz"), "rt", encoding="utf-8") as file:
            lines = [line for line, _ in zip(file, range(count), strict=False)]
        path = folder / f"{name}.jsonl"
        path.write_text("".join(lines), encoding="utf-8")
        files.append(PromptFile(path=path, language=name, columns=COLUMNS))
    return files


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_real_prompts_in_nine_languages_are_joined_by_their_ids(tmp_path: Path) -> None:
    prompts, left_out = read_prompts(ultrafeedback(tmp_path, list(LANGUAGES), 20))
    assert set(prompts) == set(LANGUAGES.values())
    assert not left_out
    parallel = [{one.parallel_id for one in records} for records in prompts.values()]
    assert all(ids == parallel[0] and len(ids) == 20 for ids in parallel)
    everything = [one for records in prompts.values() for one in records]
    assert len({one.id for one in everything}) == 180
    assert all(type(one) is Prompt and one.output == "" for one in everything)
    assert prompts["eng_Latn"][0].instruction == "What is the most common sport that trees do?"
    assert prompts["deu_Latn"][0].instruction_language == "deu_Latn"


def test_a_plan_finds_the_same_prompt_in_the_other_language(tmp_path: Path) -> None:
    prompts, _ = read_prompts(ultrafeedback(tmp_path, ["de", "fr", "en", "sw"], 5))
    pairs = [("fra_Latn", "swh_Latn"), ("swh_Latn", "deu_Latn"), ("eng_Latn", "swh_Latn")]
    made, missing = cross_prompts(pairs, prompts, wordings())
    assert not missing
    (german,) = made["deu_Latn"]
    assert german.instruction.startswith("Je, ni mchezo gani wa kawaida ambao miti hufanya?\n")
    assert "Kijerumani" in german.instruction
    assert [one.parallel_id for one in made["swh_Latn"]] == [one.parallel_id for one in prompts["swh_Latn"][:2]]
    assert "Swahili" in made["swh_Latn"][1].instruction


def test_what_needs_no_answer_can_be_answered_in_a_language_that_has_no_prompts(tmp_path: Path) -> None:
    prompts, _ = read_prompts(ultrafeedback(tmp_path, ["en"], 2))
    made, missing = cross_prompts([("eng_Latn", "yor_Latn")] * 3 + [("yor_Latn", "eng_Latn")], prompts, wordings())
    assert [one.language for one in made["yor_Latn"]] == ["yor_Latn"] * 2
    assert len({one.id for one in made["yor_Latn"]}) == 2
    assert missing == {("eng_Latn", "yor_Latn"): 1, ("yor_Latn", "eng_Latn"): 1}
    answered = {"eng_Latn": [Instruction.model_validate({**prompts["eng_Latn"][0].model_dump(), "output": "None."})]}
    assert cross_prompts([("eng_Latn", "yor_Latn")], answered, wordings())[0] == {}


def test_a_prompt_is_no_training_record(tmp_path: Path) -> None:
    prompts, _ = read_prompts(ultrafeedback(tmp_path, ["en"], 1))
    with pytest.raises(ValueError, match="output"):
        Instruction.model_validate(prompts["eng_Latn"][0].model_dump())


def test_rows_of_other_shapes(tmp_path: Path) -> None:
    path = written(
        tmp_path / "own.jsonl",
        {"q": "Name a river.", "id": 7, "language": "English"},
        {"q": "Name a river.", "id": 7, "language": "French"},
        {"q": "Name a lake.", "input": "In Kenya.", "output": "Turkana", "language": "en"},
        {"q": "Name a river.", "id": 7, "language": "English"},
    )
    prompts, left_out = read_prompts([PromptFile(path=path, columns={"instruction": "q"})])
    river, lake = prompts["eng_Latn"]
    assert river.id == "own:7:eng_Latn"
    assert prompts["fra_Latn"][0].parallel_id == river.parallel_id == "own:7"
    assert (lake.input, lake.output) == ("In Kenya.", "Turkana")
    assert left_out == {"repeated": 1}


def test_asked_in_one_language_answered_in_another(tmp_path: Path) -> None:
    path = written(tmp_path / "own.jsonl", {"instruction": "Name a river in German.", "id": "a"})
    files = [PromptFile(path=path, language="de", instruction_language=name) for name in ("en", "fr")]
    prompts, _ = read_prompts(files)
    assert [one.id for one in prompts["deu_Latn"]] == ["own:a:eng_Latn>deu_Latn", "own:a:fra_Latn>deu_Latn"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"q": "x"}, r"bad.jsonl:1: field `instruction` is missing"),
        ({"instruction": " "}, r"bad.jsonl:1: field `instruction` is empty"),
        ({"instruction": "x", "output": 3}, r"bad.jsonl:1: field `output` is not a text"),
        ("x", r"bad.jsonl:1: not an object with instruction"),
    ],
)
def test_a_broken_row_is_named_or_counted(tmp_path: Path, row: Any, message: str) -> None:
    path = written(tmp_path / "bad.jsonl", row, {"instruction": "Name a river."})
    with pytest.raises(BadRecord, match=message):
        read_prompts([PromptFile(path=path, language="en")])
    prompts, left_out = read_prompts([PromptFile(path=path, language="en", skip_bad=True)])
    assert len(prompts["eng_Latn"]) == 1
    assert left_out["broken"] == 1
    (named,) = left_out["broken rows"][str(path)]
    assert re.search(message, named)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "own.jsonl", {"instruction": "Name a river.", "id": "a"})
    with pytest.raises(BadRecord, match=r"own.jsonl:1: the row names no `language`; set that of the file"):
        read_prompts([PromptFile(path=path)])
    with pytest.raises(BadRecord, match=r"no column `uid` \(has: instruction, id\)"):
        read_prompts([PromptFile(path=path, language="en", columns={"parallel_id": "uid"})])
    with pytest.raises(ValueError, match="columns"):
        PromptFile.model_validate({"path": path, "columns": {"question": "q"}})
    written(path, {"instruction": "Name a river.", "id": "a"}, {"instruction": "Name a lake.", "id": "a"})
    with pytest.raises(InputError, match="two prompts that differ have the id own:a:eng_Latn"):
        read_prompts([PromptFile(path=path, language="en")])
    path.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="holds no records"):
        read_prompts([PromptFile(path=path, language="en")])


def test_only_the_first_broken_rows_of_a_file_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "bad.jsonl", *[{"q": "x"}] * 9, {"instruction": "Name a river."})
    _, left_out = read_prompts([PromptFile(path=path, language="en", skip_bad=True)])
    assert left_out["broken"] == 9
    assert [named.split(": ")[0] for named in left_out["broken rows"][str(path)]] == [f"{path}:{n}" for n in (1, 2, 3)]


def test_a_blank_answer_is_none(tmp_path: Path) -> None:
    path = written(tmp_path / "own.jsonl", {"instruction": "Name a river.", "output": " \n "})
    prompts, _ = read_prompts([PromptFile(path=path, language="en")])
    assert prompts["eng_Latn"][0].output == ""


@pytest.mark.parametrize("name", [3, 3.0, "3", " 3 "])
def test_a_number_is_one_name_however_it_is_written(tmp_path: Path, name: Any) -> None:
    path = written(tmp_path / "own.jsonl", {"instruction": "Name a river.", "parallel_id": name})
    assert read_prompts([PromptFile(path=path, language="en")])[0]["eng_Latn"][0].parallel_id == "3"


@pytest.mark.parametrize("name", [3.5, [3], True, {"id": 3}])
def test_what_is_no_name_is_a_broken_row(tmp_path: Path, name: Any) -> None:
    path = written(tmp_path / "own.jsonl", {"instruction": "Name a river.", "parallel_id": name})
    with pytest.raises(BadRecord, match=r"own\.jsonl:1: field `parallel_id` is no name \(a text or a whole number\)"):
        read_prompts([PromptFile(path=path, language="en")])


def test_the_ids_of_a_table_with_gaps_and_parquet_under_another_name(tmp_path: Path) -> None:
    """pandas writes a column of whole numbers as floats where some are missing."""
    english = pa.table({"instruction": ["Name a river.", "Name a lake."], "parallel_id": [3.0, float("nan")]})
    pq.write_table(english, tmp_path / "english.data")
    german = written(tmp_path / "german.jsonl", {"instruction": "Nenne einen Fluss.", "parallel_id": 3})
    files = [PromptFile(path=tmp_path / "english.data", language="en"), PromptFile(path=german, language="de")]
    prompts, _ = read_prompts(files)
    assert prompts["eng_Latn"][0].parallel_id == prompts["deu_Latn"][0].parallel_id == "3"
    assert prompts["eng_Latn"][1].parallel_id.startswith("english:")


@pytest.mark.parametrize("answers", [("", "The Rhine"), ("The Rhine", ""), ("The Rhine", "The Elbe")])
def test_of_a_prompt_that_stands_twice_the_row_with_an_answer_is_taken(
    tmp_path: Path, answers: tuple[str, str]
) -> None:
    rows = [{"instruction": "Name a river.", "id": 1, "output": answer} for answer in answers]
    path = written(tmp_path / "own.jsonl", *rows)
    prompts, left_out = read_prompts([PromptFile(path=path, language="en")])
    assert [one.output for one in prompts["eng_Latn"]] == ["The Rhine"]
    assert left_out == {"repeated": 1}


def test_what_the_evaluation_asks_is_left_out(tmp_path: Path) -> None:
    rows = [{"instruction": "Name a river. "}, {"instruction": "Name a river.", "input": "In Kenya."}]
    path = written(tmp_path / "own.jsonl", *rows)
    prompts, left_out = read_prompts([PromptFile(path=path, language="en")], {prompt_key("Name a river.", "")})
    assert [one.input for one in prompts["eng_Latn"]] == ["In Kenya."]
    assert left_out == {"asked in the evaluation": 1}


def test_no_two_prompts_of_a_plan_have_one_id(tmp_path: Path) -> None:
    """A prompt without an answer can be found by its own row and by its parallel in the language to answer in."""
    prompts, _ = read_prompts(ultrafeedback(tmp_path, ["en", "sw", "fr"], 3))
    pairs = [("eng_Latn", "swh_Latn")] * 5 + [("fra_Latn", "swh_Latn")] * 5 + [("swh_Latn", "eng_Latn")] * 5
    made, missing = cross_prompts(pairs, prompts, wordings())
    ids = [one.id for records in made.values() for one in records]
    assert len(ids) == len(set(ids)) == 15 - missing.total()
    assert len(made["swh_Latn"]) == 6, "each fact once in either language"


def test_a_long_plan_reads_each_record_once_for_a_pair(tmp_path: Path) -> None:
    class Counted(list[Prompt]):
        seen = 0

        def __iter__(self) -> Any:
            for one in super().__iter__():
                Counted.seen += 1
                yield one

    rows = [{"instruction": f"Name river {number}."} for number in range(300)]
    prompts, _ = read_prompts([PromptFile(path=written(tmp_path / "own.jsonl", *rows), language="en")])
    made, _ = cross_prompts([("eng_Latn", "yor_Latn")] * 300, {"eng_Latn": Counted(prompts["eng_Latn"])}, wordings())
    assert len(made["yor_Latn"]) == 300
    assert Counted.seen <= 3 * 300


def test_each_pair_of_languages_begins_with_another_question(tmp_path: Path) -> None:
    rows = [{"instruction": f"Name river {number}.", "parallel_id": str(number)} for number in range(200)]
    prompts, _ = read_prompts([PromptFile(path=written(tmp_path / "own.jsonl", *rows), language="en")])
    targets = ["yor_Latn", "swh_Latn", "hin_Deva", "tha_Thai", "rus_Cyrl", "arb_Arab", "zul_Latn", "fin_Latn"]
    made, _ = cross_prompts([("eng_Latn", code) for code in targets], prompts, wordings())
    assert len({made[code][0].parallel_id for code in targets}) > 5
