"""Repeated records: compared with a Jaccard over strings, on real texts in scripts with and without spaces."""

import csv
import json
import lzma
import os
import random
import subprocess
import sys
import unicodedata

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.instructions import duplicates
from xllms.instructions.duplicates import bands, jaccard, mark_duplicates, normalise
from xllms.recipe.cleaning import DuplicateSettings
from xllms.records import Instruction

DEFAULT = DuplicateSettings()


def record(name: str, text: str, *, language: str = "eng_Latn", output: str = "Yes.", more: str = "") -> Instruction:
    return Instruction(id=name, instruction=text, input=more, output=output, language=language, source="test")


def reasons(records: list[Instruction], chosen: DuplicateSettings = DEFAULT) -> dict[str, str | None]:
    marked = list(mark_duplicates(records, chosen))
    assert [one.id for one, _ in marked] == [one.id for one in records]
    return {one.id: reason for one, reason in marked}


def shingles_of_strings(text: str, size: int, *, characters: bool) -> set[tuple[str, ...]]:
    """The definition, written another way: units as strings."""
    text = regex.sub(r"[\u00AD\u200B-\u200F\u202A-\u202E\u2060-\u2064\uFEFF]", "", unicodedata.normalize("NFKC", text))
    pattern = r"[\p{L}\p{M}\p{N}]" if characters else r"[\p{L}\p{M}\p{N}]+"
    units = [unit.lower() for unit in regex.findall(pattern, text)]
    return {tuple(units[at : at + size]) for at in range(len(units) - size + 1)}


def in_pairs(texts: list[str]) -> list[tuple[str, str]]:
    return list(zip(texts[::2], texts[1::2], strict=True))


def flores(*codes: str) -> dict[str, list[str]]:
    path = shared_data("flores200", "dev510.tsv.xz")
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == 510
    return {code: [row[code] for row in rows] for code in codes}


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ("Name three rivers of Africa", "name  THREE rivers\nof Africa"),
        ("Straße und Fluß", "STRASSE UND FLUSS"),
        ("ABC カタカナ", "ＡＢＣ ｶﾀｶﾅ"),
        ("می‌خواهم بروم", "میخواهم بروم"),
        ("café", "cafe\u0301"),
        ("OK", "ok"),
    ],
)
def test_the_same_text_in_other_dress_is_a_repeat(first: str, again: str) -> None:
    assert reasons([record("a", first), record("b", again)]) == {"a": None, "b": "same text as a"}


def test_input_and_output_belong_to_the_text() -> None:
    rows = [
        record("a", "Translate", more="one apple", output="tufaha moja"),
        record("b", "Translate", more="two apples", output="tufaha mbili"),
        record("c", "Translate", more="one apple", output="tofaa"),
        record("d", "Translate one apple", output="Tufaha moja"),
    ]
    assert reasons(rows) == {"a": None, "b": None, "c": None, "d": "same text as a"}
    without_output = reasons(rows, DuplicateSettings(output=False))
    assert without_output == {"a": None, "b": None, "c": "same text as a", "d": "same text as a"}


def test_a_text_may_stand_once_in_every_language() -> None:
    codes = ("nno_Latn", "nob_Latn", "dan_Latn")
    rows = [record(code, "Kan du hjelpe meg med dette?", language=code) for code in codes]
    assert set(reasons(rows).values()) == {None}


@pytest.mark.parametrize("code", ["eng_Latn", "amh_Ethi", "tha_Thai", "zho_Hans", "khm_Khmr", "bod_Tibt", "hin_Deva"])
def test_rejections_are_those_of_a_jaccard_over_strings(code: str) -> None:
    """Pairs of real sentences, and copies with up to an eighth (a quarter) of the letters cut out, in random order."""
    draw = random.Random(code)
    characters = code in ("tha_Thai", "zho_Hans", "khm_Khmr", "bod_Tibt")
    most = 4 if characters else 8  # a word lost costs three shingles, a character one
    sentences = [" ".join(pair) for pair in in_pairs(flores(code)[code][:240])]
    rows = [record(f"{number}", sentence, language=code) for number, sentence in enumerate(sentences)]
    for number, sentence in enumerate(sentences):
        cut = draw.randrange(len(sentence))
        changed = sentence[:cut] + sentence[cut + draw.randint(1, max(1, len(sentence) // most)) :]
        rows.append(record(f"{number}-changed", changed, language=code))
    draw.shuffle(rows)
    size = DEFAULT.characters if characters else DEFAULT.words
    expected: dict[str, bool] = {}
    kept: list[set[tuple[str, ...]]] = []
    for row in rows:
        mine = shingles_of_strings(f"{row.instruction}\n{row.output}", size, characters=characters)
        expected[row.id] = any(len(mine & other) >= 0.8 * len(mine | other) for other in kept)
        if not expected[row.id]:
            kept.append(mine)
    assert 20 < sum(expected.values()) < 120
    assert {name: reason is not None for name, reason in reasons(rows).items()} == expected


def test_translations_of_500_sentences_hold_no_repeats() -> None:
    codes = ("eng_Latn", "swh_Latn", "amh_Ethi", "tha_Thai", "mya_Mymr", "jpn_Jpan", "arb_Arab", "quy_Latn")
    rows = [
        record(f"{code}{number}", sentence, language=code)
        for code, sentences in flores(*codes).items()
        for number, sentence in enumerate(sentences)
    ]
    assert len(rows) == 8 * 510
    assert set(reasons(rows).values()) == {None}


def test_published_data_have_repeats() -> None:
    path = shared_data("llamafactory_demo", "alpaca_en_demo.json")
    rows = [
        record(f"{number}", row["instruction"], more=row["input"], output=row["output"])
        for number, row in enumerate(json.loads(path.read_text(encoding="utf-8")))
    ]
    found = {name: reason for name, reason in reasons(rows).items() if reason}
    by_name = {row.id: row for row in rows}
    assert 5 < len(found) < 0.03 * len(rows)
    for name, reason in found.items():
        if reason.startswith("same text as "):
            same = by_name[reason.removeprefix("same text as ")]
            assert normalise(by_name[name].output) == normalise(same.output)


WORDS = st.lists(st.sampled_from(["maji", "ya", "moto", "ni", "mazuri", "chai"]), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(st.one_of(WORDS.map(" ".join), st.text(min_size=1, max_size=40)), max_size=30), at=st.integers(0))
def test_a_verdict_depends_on_earlier_records_only(texts: list[str], at: int) -> None:
    rows = [record(f"{number}", text) for number, text in enumerate(texts)]
    whole = reasons(rows)
    begun = rows[: at % (len(rows) + 1)]
    assert reasons(begun) == {row.id: whole[row.id] for row in begun}
    for row in rows:
        if reason := whole[row.id]:
            named = regex.search(r"as (\d+)", reason)
            assert named
            assert int(named[1]) < int(row.id)
            assert whole[named[1]] is None


def test_a_batch_border_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = flores("tha_Thai")["tha_Thai"][:60]
    rows = [
        record(f"{number}", text, language="tha_Thai") for number, text in enumerate([*sentences, *sentences[::-1]])
    ]
    whole = reasons(rows)
    assert sum(reason is not None for reason in whole.values()) == 60
    monkeypatch.setattr(duplicates, "BATCH", 7)
    assert reasons(rows) == whole


SCRIPT = """
import hashlib
from xllms.instructions.duplicates import Reading, _shingles, _sketch
from xllms.recipe.cleaning import DuplicateSettings
texts = ["The quick brown fox jumps over the lazy dog", "ሰው ሁሉ ነፃ ሆኖ ይወለዳል", "人人生而自由，在尊严和权利上一律平等。"]
shingles = _shingles(Reading(texts), DuplicateSettings())
print(hashlib.sha256(b"|".join(shingles)).hexdigest()[:16])
print(hashlib.sha256(repr([_sketch(one).digest() for one in shingles]).encode()).hexdigest()[:16])
"""


def test_hashes_are_the_same_in_every_process() -> None:
    made = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    # Noted once: a machine, or a version of rensa, that hashes differently shows here.
    assert made == {"3f7071892e974c01\nfa9e8eb1a436fba7\n"}


GROWTH = """
import random, resource
from xllms.instructions.duplicates import mark_duplicates
from xllms.recipe.cleaning import DuplicateSettings
from xllms.records import Instruction
draw = random.Random(0)
def records():
    for number in range(10_000):
        text = " ".join(str(draw.randrange(10**6)) for _ in range(30))
        yield Instruction(id=str(number), instruction=text, output="-", language="eng_Latn", source="test")
for number, (_, reason) in enumerate(mark_duplicates(records(), DuplicateSettings())):
    assert reason is None
    if number in (1_999, 9_999):
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_an_accepted_record_takes_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert (after - before) / 8_000 < 1.5  # kB; hash tables of bands took 3.4


def test_bands_bring_pairs_at_the_threshold_together() -> None:
    assert bands(0.8) == 32
    assert bands(1.0) == 1
    for threshold in (0.3, 0.5, 0.7, 0.9):
        rows = duplicates.PERMUTATIONS // bands(threshold)
        assert 1 - (1 - threshold**rows) ** bands(threshold) >= 0.99


def test_jaccard_of_a_set_with_itself_and_with_another() -> None:
    one, other = duplicates._shingles(duplicates.Reading(["a b c d", "b c d e f"]), DEFAULT)
    assert jaccard(one, one) == 1
    assert jaccard(one, other) == pytest.approx(1 / 4)


def test_without_rensa_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rensa", None)
    duplicates._rensa.cache_clear()
    with pytest.raises(InputError, match="pip install rensa"):
        reasons([record("a", "What is a lake made of?")])
    duplicates._rensa.cache_clear()
