"""Who is asked in which language, evenly; and how the answer's language is asked for, on real parallel prompts."""

import json
import lzma
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.feedback.cross_lingual import ask_in, cross_prompts, draw_pairs, name_in, read_matrix, wordings
from xllms.instructions.cldr import cldr_records
from xllms.languages import Language, get, resolve
from xllms.languages.identification import identify
from xllms.recipe import CldrSource
from xllms.records import Instruction

THIRTY = resolve(["thirty"])
ENGLISH = get("eng_Latn")
some_languages = st.lists(st.sampled_from([*THIRTY, ENGLISH]), min_size=2, max_size=9, unique=True)


def spread(counts: Counter[str], among: list[str]) -> int:
    found = [counts[code] for code in among]
    return max(found) - min(found)


@given(languages=some_languages, count=st.integers(1, 120), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_uniform_pairs_are_of_two_languages_and_balanced(languages: list[Language], count: int, seed: int) -> None:
    codes = [language.code for language in languages]
    pairs = draw_pairs(languages, "uniform", count, seed)
    assert len(pairs) == count
    assert all(one != other and {one, other} <= set(codes) for one, other in pairs)
    assert spread(Counter(one for one, _ in pairs), codes) <= 1
    assert spread(Counter(other for _, other in pairs), codes) <= 1
    every = len(codes) * (len(codes) - 1)
    assert len(set(pairs)) == min(count, every)
    assert pairs == draw_pairs(languages, "uniform", count, seed)


@given(languages=some_languages, count=st.integers(1, 120), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_english_has_one_side_and_the_others_take_turns(languages: list[Language], count: int, seed: int) -> None:
    others = [language.code for language in languages if language != ENGLISH]
    pairs = draw_pairs(languages, "english", count, seed)
    assert len(pairs) == count
    assert all("eng_Latn" in pair and set(pair) & set(others) for pair in pairs)
    assert spread(Counter(other for pair in pairs for other in pair if other != "eng_Latn"), others) <= 1
    if count % (2 * len(others)) == 0:
        assert len({Counter(pairs)[pair] for pair in pairs}) == 1
        assert len(set(pairs)) == 2 * len(others)


@given(languages=some_languages, count=st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_same_asks_in_the_language_of_the_answer(languages: list[Language], count: int) -> None:
    pairs = draw_pairs(languages, "same", count, 0)
    assert all(one == other for one, other in pairs)
    assert spread(Counter(one for one, _ in pairs), [language.code for language in languages]) <= 1


def test_the_seed_moves_the_order() -> None:
    drawn = {tuple(draw_pairs(THIRTY, "uniform", 40, seed)) for seed in range(5)}
    assert len(drawn) == 5


@given(
    weights=st.dictionaries(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["a", "b", "d"])), st.floats(0, 50), min_size=1
    ),
    count=st.integers(0, 200),
)
@settings(max_examples=60, deadline=None)
def test_a_matrix_is_followed_to_within_one(weights: dict[tuple[str, str], float], count: int) -> None:
    total = sum(weights.values())
    if total <= 0:
        with pytest.raises(InputError, match="no weight above 0"):
            draw_pairs([], "matrix", count, 0, weights)
        return
    pairs = Counter(draw_pairs([], "matrix", count, 0, weights))
    assert pairs.total() == count
    for pair, weight in weights.items():
        assert abs(pairs[pair] - count * weight / total) <= 1 + 1e-6
        assert weight > 0 or pairs[pair] == 0


def test_a_plan_for_one_language_says_what_it_needs() -> None:
    with pytest.raises(InputError, match="needs two languages"):
        draw_pairs([get("sw")], "uniform", 4, 0)
    with pytest.raises(InputError, match="needs two languages"):
        draw_pairs([ENGLISH], "english", 4, 0)


def test_a_matrix_file(tmp_path: Path) -> None:
    path = tmp_path / "matrix.csv"
    path.write_text("asked in,Swahili,th\nEnglish,2,1\nde,,0.5\n", encoding="utf-8")
    assert read_matrix(path) == {
        ("eng_Latn", "swh_Latn"): 2,
        ("eng_Latn", "tha_Thai"): 1,
        ("deu_Latn", "swh_Latn"): 0,
        ("deu_Latn", "tha_Thai"): 0.5,
    }
    for text, message in (
        ("asked in,Swahili\nEnglish,1,2\n", "matrix.csv:2: 3 cells under a header of 2"),
        ("asked in,Swahili\nEnglish,much\n", "matrix.csv:2: weight 'much'"),
        ("asked in,Swahili\nEnglish,-1\n", "matrix.csv:2: weight '-1'"),
        ("asked in,Swahili\nEnglish,1\neng_Latn,1\n", "matrix.csv:3: eng_Latn with swh_Latn stands twice"),
        ("asked in,Swahilli\nEnglish,1\n", "did you mean Swahili"),
        ("asked in,Swahili\n", "empty"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            read_matrix(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_matrix(tmp_path / "none.csv")


def test_there_is_a_wording_in_each_instruction_language_and_in_that_language() -> None:
    table = wordings()
    assert set(table) == {"eng_Latn", *(language.code for language in THIRTY)}
    assert all(wording.count("{language}") == 1 for wording in table.values())
    statuses = {code: identify(wording.replace("{language}", ""), get(code)) for code, wording in table.items()}
    assert {code: verdict for code, verdict in statuses.items() if verdict.status == "wrong"} == {}
    assert sum(verdict.status == "right" for verdict in statuses.values()) >= 25


def test_a_language_is_called_as_its_reader_calls_it() -> None:
    assert name_in(get("de"), get("fr")) == "allemand"
    assert name_in(get("zho_Hans"), get("de")) == "Chinesisch (vereinfacht)"
    assert name_in(get("zho_Hant"), get("de")) == "Chinesisch (traditionell)"
    assert name_in(get("sw"), get("wo")) == get("sw").autonym  # CLDR's Wolof has no name for it
    names = {(reader.code, language.code): name_in(language, reader) for reader in THIRTY for language in THIRTY}
    assert len(names) == 900
    assert all(name.strip() and "{" not in name for name in names.values())
    for reader in THIRTY:
        assert len({names[reader.code, language.code] for language in THIRTY}) == 30, reader.name


def test_a_table_of_your_own(tmp_path: Path) -> None:
    path = tmp_path / "wordings.csv"
    path.write_text("code,wording,note\nGerman,Antworte auf {language}.,\n", encoding="utf-8")
    assert wordings(path) == {"deu_Latn": "Antworte auf {language}."}
    broken = tmp_path / "broken.csv"
    broken.write_text("code,wording,note\nGerman,Antworte.,\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"broken.csv:2: a wording needs \{language\}"):
        wordings(broken)
    other = tmp_path / "other.csv"
    other.write_text("language,text\nGerman,Antworte.\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"other\.csv:1: the columns are code, wording, note"):
        wordings(other)


def test_a_cell_keeps_what_only_unicode_calls_a_line_break(tmp_path: Path) -> None:
    path = tmp_path / "wordings.csv"
    for inside in "\u2028\u2029\x0b\x0c\x1c\x1d\x1e\x85":
        table = f"code,wording,note\r\nGerman,Antworte{inside}auf {{language}}.,a{inside}b\r\nfr,En {{language}}.,\r\n"
        path.write_bytes(table.encode())
        wordings.cache_clear()
        assert wordings(path) == {"deu_Latn": f"Antworte{inside}auf {{language}}.", "fra_Latn": "En {language}."}
        path.write_text(f"asked{inside}in,Swahili\nEnglish,2\n", encoding="utf-8")
        assert read_matrix(path) == {("eng_Latn", "swh_Latn"): 2}
    for end in ("\n", "\r", "\r\n"):
        path.write_bytes(end.join(["asked in,Swahili", "", "English,1", "de,much", ""]).encode())
        with pytest.raises(InputError, match=r"wordings.csv:4: weight 'much'"):
            read_matrix(path)


def parallel_prompts() -> dict[str, list[Instruction]]:
    """Twelve short real parallel instructions with made-up answers, as a translated Alpaca file holds them."""
    found = {}
    ids: list[str] = []
    for name in ("en", "fr", "sw", "th"):
        code = get(name).code
        with lzma.open(shared_data("ultrafeedback_parallel", f"{name}.jsonl.xz"), "rt", encoding="utf-8") as file:
            by_id = {row["instruction_id"]: row for row in map(json.loads, file)}
        ids = ids or [key for key, row in by_id.items() if len(row["instruction"]) < 60][:12]
        rows = [by_id[key] for key in ids]
        found[code] = [
            Instruction(
                id=f"uf:{row['instruction_id']}:{code}",
                instruction=row["instruction"],
                output=f"({code}) {row['instruction']}",
                language=code,
                instruction_language=code,
                source="alpaca",
                parallel_id=f"uf:{row['instruction_id']}",
            )
            for row in rows
        ]
    return found


def test_the_request_is_in_the_instructions_language_and_the_answer_in_the_other() -> None:
    prompts = parallel_prompts()
    languages = [get(code) for code in prompts]
    pairs = draw_pairs(languages, "uniform", 24, 0)
    made, missing = cross_prompts(pairs, prompts, wordings())
    assert missing.total() == 0
    records = [record for found in made.values() for record in found]
    assert Counter((r.instruction_language, r.language) for r in records) == Counter(pairs)
    assert len({(record.parallel_id, record.language) for record in records}) == 24
    sources = {(r.parallel_id, code): r for code, found in prompts.items() for r in found}
    for record in records:
        asked, answer = (sources[record.parallel_id, code] for code in (record.instruction_language, record.language))
        first, _, request = record.instruction.rpartition("\n")
        assert (first, record.output) == (asked.instruction, answer.output)
        assert name_in(get(record.language), get(record.instruction_language)) in request
        assert identify(request, get(record.instruction_language)).status != "wrong"
    assert len({record.id for record in records}) == 24


def test_an_instruction_that_names_the_language_already_stays_as_it_is() -> None:
    source = CldrSource(train=20, validation=0, feedback=0, evaluation=0)
    records = cldr_records(source, get("sw"), 0).records["train"]
    assert len(records) == 20
    for record in records:
        assert ask_in(record, get("sw"), record.output, wordings()) == record


def test_an_instruction_that_only_mentions_the_language_is_given_the_request() -> None:
    about = Instruction(
        id="a", instruction="Who speaks Swahili?", output="Many.", language="eng_Latn", source="alpaca", parallel_id="a"
    )
    asked = ask_in(about, get("sw"), "Wengi.", wordings())
    assert asked.instruction == "Who speaks Swahili?\nAnswer in the following language: Swahili."
    assert (asked.output, asked.language, asked.instruction_language) == ("Wengi.", "swh_Latn", "eng_Latn")
    assert asked.id != about.id


def test_a_pair_without_a_parallel_is_counted_and_a_missing_wording_is_named() -> None:
    prompts = parallel_prompts()
    made, missing = cross_prompts([("eng_Latn", "swh_Latn")] * 14 + [("rus_Cyrl", "swh_Latn")], prompts, wordings())
    assert len(made["swh_Latn"]) == 12
    assert missing == {("eng_Latn", "swh_Latn"): 2, ("rus_Cyrl", "swh_Latn"): 1}
    with pytest.raises(InputError, match="no wording in French"):
        cross_prompts([("fra_Latn", "swh_Latn")], prompts, {"eng_Latn": "Answer in {language}."})
