import csv
import lzma
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from babel import Locale, localedata
from hypothesis import given
from hypothesis import strategies as st

from xllms.errors import InputError
from xllms.languages import Language, UnknownLanguage, all_languages, get, group, group_names, resolve, search
from xllms.languages.table import format_table

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


# Linguameta lists one script only for languages that FLORES has in two.
LINGUAMETA_LACKS_THE_SCRIPT = {"ace_Arab", "arb_Latn", "bjn_Arab", "knc_Arab", "min_Arab", "taq_Tfng"}


def rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        pytest.skip(f"needs {path.name} in ../shared/data")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *[("sw", "swh_Latn"), ("Swahili", "swh_Latn"), ("swh_Latn", "swh_Latn"), ("SWA", "swh_Latn")],
        *[("Mandarin", "zho_Hans"), ("zh", "zho_Hans"), ("Chinese (Simplified)", "zho_Hans")],
        *[("zh-TW", "zho_Hant"), ("zh-Hant-HK", "zho_Hant"), ("traditional chinese", "zho_Hant")],
        *[("Farsi", "pes_Arab"), ("fa-AF", "prs_Arab"), ("Burmese", "mya_Mymr"), ("Myanmar", "mya_Mymr")],
        *[("no", "nob_Latn"), ("norwegian bokmal", "nob_Latn"), ("nynorsk", "nno_Latn")],
        *[("pt-BR", "por_Latn"), ("português", "por_Latn"), ("PORTUGUES", "por_Latn")],
        *[("sr-Cyrl", "srp_Cyrl"), ("ko-Kore", "kor_Hang"), ("ks-Deva", "kas_Deva"), ("ks", "kas_Arab")],
        *[("iw", "heb_Hebr"), ("tl", "tgl_Latn"), ("Tagalog", "tgl_Latn"), ("日本語", "jpn_Jpan")],
        *[("नेपाली", "npi_Deva"), ("ara_Arab", "arb_Arab"), ("ful", "fuv_Latn"), ("Kurdish", "kmr_Latn")],
    ],
)
def test_a_language_answers_to_the_names_people_use(name: str, code: str) -> None:
    assert get(name).code == code


def test_every_code_tag_and_name_of_the_table_finds_its_own_row() -> None:
    assert len(all_languages()) == 205
    for language in all_languages():
        assert get(language.code) is language
        assert get(language.bcp47) is language
        assert get(language.name) is language
        assert get(language.name.upper()) is language


def test_an_unknown_name_gives_the_nearest_ones_in_one_line() -> None:
    with pytest.raises(UnknownLanguage, match=r"unknown language 'Swahli'; did you mean Swahili") as error:
        get("Swahli")
    assert "\n" not in str(error.value)
    assert isinstance(error.value, InputError)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", ["", "  ", "xx", "sr-Latn", "hin_Latn", "Klingon"])
def test_what_the_registry_does_not_have_is_unknown(name: str) -> None:
    with pytest.raises(UnknownLanguage):
        get(name)


@given(st.text(max_size=30))
def test_any_text_is_a_language_or_an_unknown_one(name: str) -> None:
    try:
        assert isinstance(get(name), Language)
    except UnknownLanguage as error:
        assert "unknown language" in str(error)


def test_hundred_is_flores_101_without_english() -> None:
    expected = {row["flores200"] for row in rows(DATA / "languages102.tsv")} - {"eng_Latn"}
    assert len(expected) == 101
    assert {language.code for language in group("hundred")} == expected


def test_flores_200_has_the_columns_of_the_flores_file() -> None:
    path = DATA / "flores200" / "dev510.tsv.xz"
    if not path.exists():
        pytest.skip("needs flores200/dev510.tsv.xz in ../shared/data")
    with lzma.open(path, "rt", encoding="utf-8") as file:
        columns = set(file.readline().split()) - {"line"}
    assert {language.code for language in all_languages()} == columns
    assert {language.code for language in group("flores-200")} == columns - {"nqo_Nkoo"}


def test_thirty_spans_scripts_families_and_resource_classes() -> None:
    thirty = group("thirty")
    assert len(thirty) == 30
    assert set(thirty) <= set(group("hundred"))
    assert all(language.cldr for language in thirty)
    assert len({language.script for language in thirty}) == 19
    assert len({language.family for language in thirty}) == 14
    classes = [language.resource for language in thirty]
    assert min(classes.count(name) for name in ("high", "medium", "low", "very-low")) >= 7


def test_groups_are_made_of_the_table() -> None:
    assert group("Arab") == group("script:arab") == group("SCRIPT:Arab")
    assert {language.script for language in group("Arab")} == {"Arab"}
    assert {language.resource for language in group("resource:low")} == {"low"}
    for name in group_names():
        assert group(name), name
    with pytest.raises(UnknownLanguage, match="unknown language group 'fifty'; there are hundred, thirty"):
        group("fifty")


def test_resolve_mixes_groups_and_names_once_each_in_order() -> None:
    chosen = resolve(["sw", "thirty", "Swahili", "script:Taml", "English"])
    codes = [language.code for language in chosen]
    assert codes[0] == "swh_Latn"
    assert codes[-1] == "eng_Latn"
    assert len(codes) == len(set(codes)) == 31
    assert resolve([]) == ()
    with pytest.raises(UnknownLanguage, match="unknown language or group 'hundrd'; did you mean hundred"):
        resolve(["sw", "hundrd"])


def test_search_finds_by_part_of_a_name_and_puts_the_exact_one_first() -> None:
    assert search("sw")[0].code == "swh_Latn"
    assert {"arb_Arab", "ary_Arab"} <= {language.code for language in search("arabic")}
    assert search("myanmar")[0].code == "mya_Mymr"
    assert len(search("")) == 205
    assert search("qqqq") == []


def test_every_cldr_locale_is_in_babel_and_in_the_languages_own_script() -> None:
    with_cldr = [language for language in all_languages() if language.cldr]
    assert sum(language in group("hundred") for language in with_cldr) == 98
    starts = {
        **{"Arab": "ARABIC", "Cyrl": "CYRILLIC", "Deva": "DEVANAGARI", "Ethi": "ETHIOPIC", "Hang": "HANGUL"},
        **{"Hans": "CJK", "Hant": "CJK", "Jpan": "KATAKANA", "Latn": "LATIN"},
    }
    checked = 0
    for language in with_cldr:
        assert localedata.exists(language.cldr), language.code
        kenya = Locale.parse(language.cldr).territories["KE"]
        if language.script in starts:
            first = next(character for character in kenya if character.isalpha())
            assert unicodedata.name(first).startswith(starts[language.script]), (language.code, kenya)
            checked += 1
    assert checked > 100


def test_direction_is_what_babel_says_where_it_knows() -> None:
    checked = [language for language in all_languages() if language.cldr]
    assert len(checked) > 120
    for language in checked:
        assert language.direction == Locale.parse(language.cldr).text_direction, language.code
    assert {language.script for language in all_languages() if language.direction == "rtl"} == {
        "Arab",
        "Hebr",
        "Nkoo",
    }


def test_scripts_agree_with_linguameta_but_for_the_languages_flores_writes_twice() -> None:
    facts = {row["bcp_47_code"]: row for row in rows(DATA / "linguameta" / "linguameta.tsv")}
    other = set()
    checked = 0
    for language in all_languages():
        listed = facts.get(language.bcp47.split("-")[0], {}).get("writing_systems", "")
        checked += bool(listed)
        if listed and language.script not in listed.split(", "):
            other.add(language.code)
    assert checked > 190
    assert other == LINGUAMETA_LACKS_THE_SCRIPT


def test_the_registry_imports_without_babel_and_langcodes() -> None:
    script = (
        "import sys; import xllms.languages as l; l.get('sw'); "
        "print([m for m in ('babel', 'langcodes', 'pycld2', 'pydantic', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_table_has_a_line_a_language_in_aligned_columns() -> None:
    text = format_table([get("sw"), get("umb"), get("tr")])
    lines = text.splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["code", "name", "autonym", "script", "resource", "CLDR", "groups"]
    column = lines[0].index("script")
    assert {line[column : column + 4] for line in lines[1:]} == {"Latn"}
    assert lines[1].split() == [
        *("swh_Latn", "Swahili", "Kiswahili", "Latn", "very-low", "yes"),
        *("hundred", "thirty", "flores-200"),
    ]
    assert " no " in lines[2]
