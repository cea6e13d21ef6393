"""Real CLDR facts: what they say, and that nothing held out is trained on in any language."""

import subprocess
import sys
from datetime import date

import pytest
import regex

from xllms.instructions import cldr, cldr_book
from xllms.instructions.cldr_book import Book, Entity
from xllms.instructions.cldr_split import candidates, split_of
from xllms.languages import get, resolve
from xllms.recipe import ALL_CLDR_KINDS, CldrSource
from xllms.splits import SPLITS

HUNDRED = list(resolve(("hundred",)))
SETTINGS = CldrSource()


@pytest.fixture(scope="module")
def drawn() -> dict[str, cldr.Drawn]:
    """All languages' records, drawn once."""
    return {language.code: cldr.cldr_records(SETTINGS, language, 0) for language in HUNDRED}


def _parts(fact: str) -> set[str]:
    """The fact's id and the names within it, read from the id alone: nothing of the code under test."""
    kind, _, key = fact.partition(":")
    if kind == "date":
        day = date.fromisoformat(key)
        return {fact, f"month:{day.month}", f"weekday:{day.weekday()}"}
    if kind == "list":
        named, _, keys = key.partition(":")
        return {fact, *(f"{named}:{one}" for one in keys.split("+"))}
    value, _, currency = key.removesuffix("%").partition(" ")
    if kind == "number":
        return {f"value:{value}", *([f"currency:{currency}"] if currency else [])}
    return {fact}


def test_nearly_all_of_the_hundred_have_a_full_set(drawn: dict[str, cldr.Drawn]) -> None:
    full = [
        code
        for code, one in drawn.items()
        if all(len(one.records[split]) == getattr(SETTINGS, split) for split in SPLITS)
    ]
    assert len(full) >= 98


def test_known_facts() -> None:
    france, day = (
        Entity("territory:FR", "territory", "territory", ("territory:FR",)),
        Entity("date:2026-03-05", "date", "date", ("month:3", "weekday:3")),
    )
    three = ("language:de", "language:fr", "language:sw")
    names = Entity("list:language:de+fr+sw", "list", "list", three)

    def write(code: str, entity: Entity) -> str | None:
        return Book(get(code).cldr, get(code).script).write(entity)

    assert write("swh_Latn", france) == "Ufaransa"
    assert write("rus_Cyrl", france) == "Франция"
    assert write("zho_Hant", france) == "法國"
    assert write("deu_Latn", day) == "Donnerstag, 5. März 2026"
    assert write("fin_Latn", day) == "torstai 5. maaliskuuta 2026"
    assert write("jpn_Jpan", day) == "2026年3月5日木曜日"
    assert write("pes_Arab", day) == "پنجشنبه ۵ مارس ۲۰۲۶"
    assert write("deu_Latn", names) == "Deutsch, Französisch und Suaheli"
    assert write("deu_Latn", Entity("number:1234567.5", "number", "decimal")) == "1.234.567,5"
    assert write("hin_Deva", Entity("number:1234567.5", "number", "decimal")) == "12,34,567.5"
    assert write("pes_Arab", Entity("number:37%", "number", "percent")) == "۳۷٪"


def test_a_locale_does_not_leak_into_the_next() -> None:
    """Babel's shared data: after Igbo, French weekdays were Igbo (python-babel issue 1234)."""
    Book("ig", "Latn")
    assert Book("fr", "Latn").names["weekday:3"] == "jeudi"
    assert Book("fi", "Latn").names["month:3"] == "maaliskuu"


def test_answers_are_in_the_script_of_the_language(drawn: dict[str, cldr.Drawn]) -> None:
    outputs = [record.output for record in drawn["arb_Arab"].records["train"]]
    assert outputs
    assert not any(regex.search(r"\p{Latin}", output) for output in outputs)
    assert any(one.reason == cldr_book.OTHER_SCRIPT for one in drawn["pbt_Arab"].rejected)


def test_what_the_locale_lacks_is_counted(drawn: dict[str, cldr.Drawn]) -> None:
    reasons = {one.reason for one in drawn["luo_Latn"].rejected}
    assert cldr_book.NO_ENTRY in reasons
    assert cldr.COPIED in reasons
    assert [one.reason for one in drawn["umb_Latn"].rejected] == [cldr.NO_LOCALE]


def test_no_part_of_a_held_out_fact_is_trained_on_in_any_language(drawn: dict[str, cldr.Drawn]) -> None:
    parts: dict[str, set[str]] = {}
    for split in SPLITS:
        ids = {one.parallel_id.removeprefix("cldr:") for d in drawn.values() for one in d.records[split]}
        parts[split] = {part for fact in ids for part in _parts(fact)}
        assert any(part.startswith("value:") for part in parts[split]) or split not in ("train", "evaluation")
        assert any(part.startswith("month:") for part in parts[split])
        assert any(part.startswith("weekday:") for part in parts[split])
    for split in SPLITS:
        for other in set(SPLITS) - {split}:
            assert parts[split].isdisjoint(parts[other]), (split, other)


def test_no_answer_is_in_two_splits_of_a_language(drawn: dict[str, cldr.Drawn]) -> None:
    for code, one in drawn.items():
        seen: dict[str, str] = {}
        for split in SPLITS:
            for record in one.records[split]:
                assert seen.setdefault(record.output.casefold(), split) == split, (code, record)


def test_held_out_names_stand_in_no_training_answer(drawn: dict[str, cldr.Drawn]) -> None:
    names = 0
    for code, one in drawn.items():
        held = [r for split in ("evaluation", "feedback") for r in one.records[split]]
        held_names = {r.output.casefold() for r in held if r.kind in ("territory", "language", "currency")}
        names += len(held_names)
        for record in one.records["train"]:
            found = [name for name in held_names if len(name) > 3 and name in record.output.casefold()]
            assert not found, (code, record, found)
    assert names > 400


def test_evaluation_and_feedback_ask_for_the_same_facts_everywhere(drawn: dict[str, cldr.Drawn]) -> None:
    for split in ("evaluation", "feedback"):
        chosen = [{r.parallel_id for r in one.records[split]} for one in drawn.values() if one.records[split]]
        german = {r.parallel_id for r in drawn["deu_Latn"].records[split]}
        shared = [len(german & ids) / len(german) for ids in chosen]
        assert sum(shared) / len(shared) > 0.75


def test_half_of_evaluation_is_text(drawn: dict[str, cldr.Drawn]) -> None:
    for code, one in drawn.items():
        records = one.records["evaluation"]
        long = [record for record in records if record.kind in ("date", "list")]
        assert len(long) * 2 >= len(records), code
        digits = [record for record in records if not regex.search(r"\p{L}", record.output)]
        assert len(digits) <= len(records) / 12


def test_few_answers_are_the_english_text_again(drawn: dict[str, cldr.Drawn]) -> None:
    for code, one in drawn.items():
        records = one.records["train"]
        same = [record for record in records if f'"{record.output}"' in record.instruction]
        assert len(same) <= len(records) / 10, code


def test_prompts_share_all_but_the_language(drawn: dict[str, cldr.Drawn]) -> None:
    by_fact: dict[str, set[str]] = {}
    for language in HUNDRED:
        for record in drawn[language.code].records["evaluation"]:
            assert record.id == f"{record.parallel_id}:{language.code}"
            prefix, name, end = record.instruction.rpartition(language.name)
            assert name and end in (".", "?")
            by_fact.setdefault(record.parallel_id, set()).add(prefix)
    assert by_fact
    assert all(len(prefixes) == 1 for prefixes in by_fact.values())


def test_the_two_chinese_scripts_are_named(drawn: dict[str, cldr.Drawn]) -> None:
    asked = drawn["zho_Hans"].records["evaluation"][0].instruction
    other = drawn["zho_Hant"].records["evaluation"][0].instruction
    assert "Simplified" in asked and "Traditional" in other


def test_the_seed_decides_everything() -> None:
    swahili = get("swh_Latn")
    first, again = (cldr.cldr_records(SETTINGS, swahili, 7) for _ in range(2))
    assert first == again
    assert first != cldr.cldr_records(SETTINGS, swahili, 8)


@pytest.mark.parametrize("seed", range(5))
def test_every_split_can_write_dates(seed: int) -> None:
    for split in SPLITS:
        assert next(candidates("date", split, seed, ""), None) is not None
    assert {split_of(f"weekday:{day}", seed) for day in range(7)} == set(SPLITS)


def test_english_is_answered_in_english() -> None:
    english = cldr.cldr_records(SETTINGS, get("eng_Latn"), 0)
    assert len(english.records["train"]) == SETTINGS.train


@pytest.mark.parametrize("kind", ALL_CLDR_KINDS)
def test_one_kind_alone_ends(kind: str) -> None:
    settings = CldrSource.model_validate({"kinds": [kind], "train": 30, "evaluation": 5})
    records = cldr.cldr_records(settings, get("swe_Latn"), 0).records
    assert {record.kind for record in records["train"]} == {kind}


def test_importing_the_stage_loads_neither_babel_nor_torch() -> None:
    code = "import sys, xllms.instructions.stage; print({'babel', 'torch'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
