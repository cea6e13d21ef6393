"""Build `src/xllms/languages/languages.csv` from packages and one small hand-made table.

    python scripts/build_languages.py            # needs: pip install 'xllms[registry]'

`languages_hand.csv` holds what no package tells: the FLORES codes and the release each belongs to, the
language family, the codes of NLLB (transformers' list; empty: the same as FLORES, `-`: none) and of Google
Translate (its list after the extension of 2024, from memory), and a name, autonym, BCP-47 tag or CLDR
locale wherever the packages have none or would give two rows the same one. All else comes from langcodes,
language-data and Babel.

Resource class: the share of pages in Common Crawl CC-MAIN-2024-42 whose primary language CLD2 takes it to
be (column `crawl_share`, percent, https://commoncrawl.github.io/cc-crawl-statistics/plots/languages), cut
as in Lai et al. 2023 (ChatGPT Beyond English): high from 1 %, medium from 0.1 %, low from 0.01 %, very-low
below or where CLD2 does not know the language. Chinese is counted once for both scripts, and a
macrolanguage's share goes to its standard variety.

CLDR locale: a Babel locale that itself, below the root, names at least 150 territories, at least 90 % of
their letters in the row's script. So Tamazight in Tifinagh has none (CLDR's is Latin), nor has Guarani (31
names).

Groups: `hundred` is FLORES-101 without English, 101 codes. `thirty` is the set of feedback languages,
chosen from `hundred` among those with a CLDR locale: 19 scripts, 14 families, 7 to 9 languages of each
resource class. `flores-200` is the 204 codes of the first release; N'Ko came later, and is in its script's
and class's groups only.
"""

import csv
import unicodedata
from pathlib import Path

import langcodes
import regex
from babel import localedata
from babel.core import get_global

ROOT = Path(__file__).resolve().parent.parent
HAND = ROOT / "scripts" / "languages_hand.csv"
TABLE = ROOT / "src" / "xllms" / "languages" / "languages.csv"
COLUMNS = (
    *("code", "bcp47", "name", "autonym", "script", "family"),
    *("direction", "resource", "nllb", "google", "cldr", "groups"),
)
MIN_TERRITORIES = 150
MIN_SCRIPT_SHARE = 0.9
RESOURCE_CLASSES = ((1.0, "high"), (0.1, "medium"), (0.01, "low"), (0.0, "very-low"))
COMPOSITE_SCRIPTS = {"Hans": ("Hani",), "Hant": ("Hani",), "Jpan": ("Hani", "Hira", "Kana")}


def bcp47(code: str) -> str:
    """The shortest tag others read as this language: macrolanguage, and a script only where it is needed."""
    language, script = code.split("_")
    tag = langcodes.standardize_tag(language, macro=True)
    likely = langcodes.Language.get(tag).maximize().script
    return tag if likely in (script, None) or (likely, script) == ("Kore", "Hang") else f"{tag}-{script}"


def letters_in_script(text: str, script: str) -> tuple[int, int]:
    """(letters in the script, letters) of the text."""
    scripts = "".join(rf"\p{{Script={part}}}" for part in COMPOSITE_SCRIPTS.get(script, (script,)))
    return len(regex.findall(rf"[[{scripts}]&&\p{{L}}]", text, regex.V1)), len(regex.findall(r"\p{L}", text))


def own_territories(locale: str) -> list[str]:
    """The territory names that this locale has of its own or from a parent below the root."""
    names: dict[str, str] = {}
    parents = get_global("parent_exceptions")
    while locale and locale != "root":
        own = localedata.load(locale, merge_inherited=False).get("territories", {})
        names = {**own, **names}
        locale = parents.get(locale) or locale.rpartition("_")[0]
    return [str(name) for name in names.values()]


def cldr_locale(tag: str, script: str) -> str:
    """The Babel locale that names territories in this language and script; empty if there is none."""
    base = tag.split("-")[0]
    candidates = (tag.replace("-", "_"), base, f"{base}_{script}")
    for locale in candidates:
        if not localedata.exists(locale):
            continue
        names = own_territories(locale)
        inside, letters = letters_in_script(" ".join(names), script)
        if len(names) >= MIN_TERRITORIES and inside >= MIN_SCRIPT_SHARE * letters:
            return locale
    return ""


def direction(autonym: str) -> str:
    """`rtl` if the autonym's first letter runs from right to left."""
    letter = next(character for character in autonym if character.isalpha())
    return "rtl" if unicodedata.bidirectional(letter) in ("R", "AL") else "ltr"


def resource_class(crawl_share: str) -> str:
    share = float(crawl_share or 0)
    return next(name for least, name in RESOURCE_CLASSES if share >= least)


def groups(hand: dict[str, str]) -> str:
    names = []
    if hand["flores"] == "101" and hand["code"] != "eng_Latn":
        names.append("hundred")
    if hand["thirty"]:
        names.append("thirty")
    if hand["flores"]:
        names.append("flores-200")
    return " ".join(names)


def row(hand: dict[str, str]) -> dict[str, str]:
    """One row of the registry: what the hand-made table gives, and the packages' facts for the rest."""
    code = hand["code"]
    script = code.split("_")[1]
    tag = hand["bcp47"] or bcp47(code)
    bare = langcodes.Language.get(tag.split("-")[0])
    autonym = hand["autonym"] or bare.autonym()
    return {
        "code": code,
        "bcp47": tag,
        "name": hand["name"] or bare.language_name(),
        "autonym": autonym,
        "script": script,
        "family": hand["family"],
        "direction": direction(autonym),
        "resource": resource_class(hand["crawl_share"]),
        "nllb": {"": code, "-": ""}.get(hand["nllb"], hand["nllb"]),
        "google": hand["google"],
        "cldr": hand["cldr"] or cldr_locale(tag, script),
        "groups": groups(hand),
    }


def main() -> None:
    with HAND.open(encoding="utf-8", newline="") as file:
        rows = [row(hand) for hand in csv.DictReader(file)]
    for column in ("code", "bcp47", "name"):
        values = [row[column] for row in rows]
        repeated = sorted({value for value in values if values.count(value) > 1})
        if repeated:
            raise SystemExit(f"{HAND.name}: two rows have the same {column}: {', '.join(repeated)}")
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{TABLE.relative_to(ROOT)}: {len(rows)} languages")


if __name__ == "__main__":
    main()
