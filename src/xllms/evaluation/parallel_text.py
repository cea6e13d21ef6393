"""Sentences that say the same in many languages, read from FLORES as it is passed around.

As plain lines (`devtest/swh_Latn.devtest`, or FLORES-101's `devtest/swh.devtest`), as one table with a column for each
language (`*.tsv`, `*.tsv.xz`; quotes raw), or from the hub (`facebook/flores`, `openlanguagedata/flores_plus`). Line n
of one language is taken for the translation of line n of another, so a blank or missing line is an error: every score
after it would be of the wrong sentence.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xllms.errors import InputError
from xllms.evaluation.benchmark import Asked
from xllms.evaluation.data import Files, field, read_rows
from xllms.languages import UnknownLanguage, get

_SPLITS = ("devtest", "test", "dev")
_CODE = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
_TABLES = ("*.tsv", "*.tsv.xz", "*.tsv.gz")
# What FLORES-101 calls otherwise than anybody else; its `msa` is Malay, not Modern Standard Arabic.
_FLORES_101 = {"zho_simpl": "zho_Hans", "zho_trad": "zho_Hant", "msa": "zsm_Latn"}
# What FLORES+ has renamed (the CHANGELOG of openlanguagedata/flores, 2.0).
_FLORES_PLUS = {
    "aka_Latn": "twi_Latn_asan1239",
    "apc_Arab": "apc_Arab_nort3139",
    "est_Latn": "ekk_Latn",
    "grn_Latn": "gug_Latn",
    "kon_Latn": "ktu_Latn",
    "tgl_Latn": "fil_Latn",
    "twi_Latn": "twi_Latn_akua1239",
    "tzm_Tfng": "zgh_Tfng",
    "zho_Hans": "cmn_Hans",
    "zho_Hant": "cmn_Hant",
}


@dataclass(frozen=True)
class ParallelText:
    """Sentences by language.

    Attributes:
        where: file, folder or data set that they are from.
        sentences: FLORES code -> sentences, as many in each language.
    """

    where: str
    sentences: Mapping[str, Sequence[str]]

    @property
    def count(self) -> int:
        """Sentences of each language."""
        return len(next(iter(self.sentences.values())))


def read(asked: Asked, name: str, codes: Sequence[str], split: str | None = None) -> ParallelText:
    """The sentences of these languages; those that are not there are left out and named on stderr.

    Args:
        asked: names the folder or the hub's data set.
        name: of the benchmark.
        codes: FLORES codes.
        split: devtest, dev, ...; None takes devtest, test or dev, whichever is there.

    Raises:
        InputError: nothing is there, or no whole text; names the files.
    """
    found = find(asked, name, codes, split)
    if found is None:
        root = Files(asked, name).root
        wanted = f"{split or 'devtest'}/swh_Latn.{split or 'devtest'}, or a .tsv with a column for each language"
        raise InputError(f"{root}: holds no sentences of {name}: {wanted}; evaluation.{name}.path names another folder")
    absent = [code for code in codes if code not in found.sentences]
    if absent:
        more = f" and {len(absent) - 4} more" if len(absent) > 4 else ""
        print(f"{name}: left out, as {found.where} does not have them: {', '.join(absent[:4])}{more}", file=sys.stderr)
    return found


def find(asked: Asked, name: str, codes: Sequence[str], split: str | None = None) -> ParallelText | None:
    """As `read`, but None where nothing of that split is there, and nothing is said of languages left out."""
    files = Files(asked, name)
    if files.hub:
        return _from_hub(files, codes, split or "devtest")
    places = (files.root, *sorted(place for place in files.root.glob(f"{name}*") if place.is_dir()))
    for place in places:
        for one in (split,) if split else _SPLITS:
            paths = _line_files(place / one, one)
            if paths:
                return _from_lines(place / one, {code: paths[code] for code in codes if code in paths})
    tables = [path for place in places for kind in _TABLES for path in sorted(place.glob(kind))]
    for one in (split,) if split else _SPLITS:
        named = (path for path in tables if re.match(rf"{re.escape(one)}(?![a-z])", path.name))
        if path := next(named, None):
            return _from_table(path, codes)
    path = None if split else next(filter(_has_codes, tables), None)
    return _from_table(path, codes) if path else None


def _line_files(folder: Path, split: str) -> dict[str, Path]:
    """The files of a folder by FLORES code."""
    found = {}
    for path in sorted(folder.glob(f"*.{split}")):
        try:
            found[_FLORES_101.get(path.stem) or get(path.stem).code] = path
        except UnknownLanguage:  # one that the registry does not have cannot be asked for
            continue
    return found


def _from_lines(folder: Path, paths: Mapping[str, Path]) -> ParallelText:
    sentences = {code: _lines(path) for code, path in paths.items()}
    if not sentences:
        raise InputError(f"{folder}: has none of the evaluation's languages; evaluation.languages names others")
    _check_lengths({str(paths[code]): len(lines) for code, lines in sentences.items()})
    return ParallelText(str(folder), sentences)


def _lines(path: Path) -> list[str]:
    try:
        # Not `splitlines`, which also breaks at characters that may stand inside a sentence.
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    blank = next((number for number, line in enumerate(lines, 1) if not line), None)
    if blank is not None:
        raise InputError(
            f"{path}:{blank}: a blank line, where a sentence should be: is the file cut off, or of another version?"
        )
    return lines


def _from_table(path: Path, codes: Sequence[str]) -> ParallelText:
    found: dict[str, list[str]] = {}
    columns: dict[str, str] = {}
    number = 0
    for number, (where, row) in enumerate(read_rows(path)):
        if not number:
            columns = _columns(path, row, codes)
            found = {code: [] for code in columns}
        for code, column in columns.items():
            sentence = field((where, row), column).strip()
            if not sentence:
                raise InputError(f"{where}: no sentence in column `{column}`; is the file whole?")
            found[code].append(sentence)
    if not found:
        raise InputError(f"{path}: holds no sentences; was the download cut off?")
    return ParallelText(str(path), found)


def _has_codes(path: Path) -> bool:
    """Whether a table of another name is one of sentences."""
    try:
        _, row = next(read_rows(path), ("", {}))
    except InputError:  # whatever it is, it was not asked for
        return False
    return any(_CODE.fullmatch(name.removeprefix("sentence_")) for name in row)


def _columns(path: Path, names: Iterable[str], codes: Sequence[str]) -> dict[str, str]:
    """FLORES code -> column of those languages that are wanted and there."""
    # The hub's table of all languages puts `sentence_` before each code.
    by_code = {name.removeprefix("sentence_"): name for name in names}
    if not any(_CODE.fullmatch(code) for code in by_code):
        there = ", ".join(list(by_code)[:6])
        raise InputError(
            f"{path}: its columns ({there}) are not named by FLORES codes such as swh_Latn; is this another version?"
        )
    columns = {code: by_code[code] for code in codes if code in by_code}
    if not columns:
        raise InputError(f"{path}: has none of the evaluation's languages; evaluation.languages names others")
    return columns


def _from_hub(files: Files, codes: Sequence[str], split: str) -> ParallelText:
    hub = str(files.hub)
    renamed = _FLORES_PLUS if "plus" in hub else {}
    found = {}
    for code in codes:
        rows = files.rows((), renamed.get(code, code), split) or []
        if not rows:
            raise InputError(f"{hub} ({code}, {split}): holds no sentences")
        name = "text" if "text" in rows[0][1] else "sentence"
        found[code] = [field(row, name).strip() for row in rows]
    _check_lengths({f"{hub} ({code})": len(lines) for code, lines in found.items()})
    return ParallelText(hub, found)


def _check_lengths(counts: Mapping[str, int]) -> None:
    (first, count), *others = counts.items()
    for where, other in others:
        if other != count:
            raise InputError(
                f"{first} has {count} lines, {where} has {other}: sentences would be paired wrongly; take both from "
                "one version"
            )
