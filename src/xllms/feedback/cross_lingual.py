"""An instruction in one language, answered in another: which two, and how the answer's language is asked for.

`wordings.csv` has "Answer in the following language: {language}." in English and the thirty instruction languages. The
name stands after a colon, as CLDR lists it, so that no case or gender has to bend it. The wordings were written for
this project and are to be checked by speakers; your own table can take their place (`feedback.wordings`).
"""

import csv
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib import resources
from io import StringIO
from itertools import chain, islice
from pathlib import Path

import regex

from xllms.errors import InputError
from xllms.languages import Language, get
from xllms.recipe.feedback import Plan
from xllms.records import Prompt

Pair = tuple[str, str]
ENGLISH = "eng_Latn"
_SLOT = "{language}"


def draw_pairs(
    languages: Sequence[Language], plan: Plan, count: int, seed: int, weights: Mapping[Pair, float] | None = None
) -> list[Pair]:
    """(instruction language, response language) of `count` prompts, as FLORES codes; the same call, the same pairs.

    Under `same` and `uniform` no language is on either side more than once oftener than another; under `uniform` no
    pair comes again before all have come. `english` gives each other language both directions in turn. A matrix is
    followed to within one prompt for each pair.

    Args:
        languages: who takes part; a matrix names its own.
        plan: `same`, `uniform` (two different languages), `english` (one side is English), `matrix`.
        count: how many.
        seed: of the order.
        weights: `matrix`: weight of each pair.

    Raises:
        InputError: too few languages for the plan, or a matrix without weights.
    """
    draw = random.Random(seed)
    codes = [language.code for language in languages]
    draw.shuffle(codes)
    if plan == "matrix":
        return _by_weight(weights or {}, count, draw)
    if plan == "same":
        rounds = [[(code, code) for code in codes]]
    elif plan == "english":
        others = [code for code in codes if code != ENGLISH]
        rounds = [_one_round_of_english(others, turn) for turn in (0, 1)]
    else:
        offsets = list(range(1, len(codes)))
        draw.shuffle(offsets)
        rounds = [_one_round(codes, offset) for offset in offsets]
    pairs = [pair for one_round in rounds for pair in one_round]
    if not pairs:
        raise InputError(f"feedback.plan: {plan}: needs two languages; name more in feedback.languages")
    return [pairs[number % len(pairs)] for number in range(count)]


def _one_round(codes: Sequence[str], offset: int) -> list[Pair]:
    """Every language once on each side."""
    return [(codes[(at + offset) % len(codes)], code) for at, code in enumerate(codes)]


def _one_round_of_english(others: Sequence[str], turn: int) -> list[Pair]:
    return [(ENGLISH, code) if (at + turn) % 2 == 0 else (code, ENGLISH) for at, code in enumerate(others)]


def _by_weight(weights: Mapping[Pair, float], count: int, draw: random.Random) -> list[Pair]:
    """Shares of `count` by largest remainder; which of equal remainders comes first is drawn."""
    total = sum(weights.values())
    if total <= 0:
        raise InputError("feedback.matrix: no weight above 0")
    exact = {pair: count * weight / total for pair, weight in weights.items() if weight > 0}
    pairs = sorted(exact)
    draw.shuffle(pairs)
    share = {pair: int(exact[pair]) for pair in pairs}
    by_remainder = sorted(pairs, key=lambda pair: share[pair] - exact[pair])
    for pair in by_remainder[: count - sum(share.values())]:
        share[pair] += 1
    drawn = [pair for pair in pairs for _ in range(share[pair])]
    draw.shuffle(drawn)
    return drawn


def read_matrix(path: Path) -> dict[Pair, float]:
    """Weights of (instruction language, response language) from a CSV file.

    Its first row names response languages, its first column instruction languages, by any name of the registry.

    Raises:
        InputError: the file cannot be read, a row is too short or long, a weight is no number of 0 or more.
        UnknownLanguage: a name is none.
    """
    (_, header), *rows = _rows(path)
    responses = [get(name).code for name in header[1:]]
    weights: dict[Pair, float] = {}
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(f"{path}:{line}: {len(row)} cells under a header of {len(header)}")
        asked_in = get(row[0]).code
        for response, cell in zip(responses, row[1:], strict=True):
            if (asked_in, response) in weights:
                raise InputError(f"{path}:{line}: {asked_in} with {response} stands twice; keep one")
            weights[asked_in, response] = _weight(cell, f"{path}:{line}")
    return weights


def _weight(cell: str, where: str) -> float:
    try:
        weight = float(cell or 0)
    except ValueError:
        weight = -1
    if not 0 <= weight < float("inf"):
        raise InputError(f"{where}: weight {cell!r} is no number of 0 or more")
    return weight


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line, cells) of each row with something in it."""
    try:
        # Not `splitlines`, which also breaks at characters that may stand inside a cell (U+2028).
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV file: {error}") from None
    if len(rows) < 2:
        raise InputError(f"{path}: empty; it needs a header and one row at least")
    return rows


@cache
def wordings(path: Path | None = None) -> Mapping[str, str]:
    """FLORES code of the instruction's language -> the request, with `{language}` in it; shipped, or of `path`.

    Raises:
        InputError: the file cannot be read, lacks a column, or a wording has no `{language}`.
    """
    if path is None:
        shipped = csv.DictReader(StringIO(_shipped(), newline=""))
        return {row["code"]: row["wording"] for row in shipped}
    (_, header), *rows = _rows(path)
    if header[:2] != ["code", "wording"]:
        raise InputError(f"{path}:1: the columns are code, wording, note; found {', '.join(header)}")
    for line, row in rows:
        if len(row) < 2 or _SLOT not in row[1]:
            raise InputError(f"{path}:{line}: a wording needs {_SLOT} where the language's name goes")
    return {get(row[0]).code: row[1] for _, row in rows}


def wordings_digest(path: Path | None = None) -> str:
    """Identity of the table that `wordings` reads."""
    return sha256(_shipped().encode() if path is None else path.read_bytes()).hexdigest()


def _shipped() -> str:
    return resources.files("xllms.feedback").joinpath("wordings.csv").read_text(encoding="utf-8")


@cache
def name_in(language: Language, reader: Language) -> str:
    """What CLDR calls a language in the reader's; where it has no name there, the language's own name for itself."""
    if not reader.cldr:
        return language.autonym
    from babel import Locale

    name = Locale.parse(reader.cldr).languages.get(language.bcp47.replace("-", "_"))
    return str(name) if name else language.autonym


def ask_in(asked: Prompt, response: Language, reference: str, table: Mapping[str, str]) -> Prompt:
    """The record with a request, in its instruction's language, to answer in `response`.

    Args:
        asked: whose instruction it is; one that names the language by itself stays as it is.
        response: the language to answer in.
        reference: the answer in that language; empty where there is none.
        table: of `wordings`.

    Raises:
        InputError: the table has no wording in the instruction's language.
    """
    code = asked.instruction_language
    if code not in table:
        raise InputError(
            f"feedback.wordings: no wording in {get(code).name} ({code}); add it to a table of your own, or leave the "
            "language out of the plan"
        )
    request = asked.instruction
    if not _says_so(asked, response):
        request += "\n" + table[code].replace(_SLOT, name_in(response, get(code)))
    return asked.model_copy(
        update={
            "id": asked.id if asked.language == response.code else f"{asked.id}>{response.code}",
            "instruction": request,
            "output": reference,
            "language": response.code,
        }
    )


def _says_so(asked: Prompt, response: Language) -> bool:
    """Whether the instruction asks for that language already: its own, or one it was written for and names (CLDR)."""
    if asked.language != response.code:
        return False
    name = regex.escape(name_in(response, get(asked.instruction_language)))
    return asked.instruction_language == response.code or bool(
        regex.search(rf"(?<!\p{{L}}){name}(?!\p{{L}})", asked.instruction, regex.IGNORECASE)
    )


def cross_prompts(
    pairs: Sequence[Pair], prompts: Mapping[str, Sequence[Prompt]], table: Mapping[str, str]
) -> tuple[dict[str, list[Prompt]], Counter[Pair]]:
    """For each drawn pair a fact that has an instruction in the one language and, in the other, an answer or a prompt.

    A prompt without an answer can be answered in any language, so one whose other language has no prompts will do.

    Args:
        pairs: of `draw_pairs`.
        prompts: FLORES code of the answers -> records.
        table: of `wordings`.

    Returns:
        Response language -> prompts, each fact once; and the pairs for which nothing was left.
    """
    in_language: dict[Pair, Prompt] = {
        (record.parallel_id, code): record
        for code, records in prompts.items()
        for record in records
        if record.parallel_id and record.instruction_language == code
    }
    made: dict[str, list[Prompt]] = {}
    missing: Counter[Pair] = Counter()
    used: set[tuple[str, ...]] = set()
    # What one pair passed over is used or not for it: its next search goes on from there.
    left = {pair: _facts(*pair, prompts, in_language) for pair in dict.fromkeys(pairs)}
    for asked_in, code in pairs:
        found = next((fact for fact in left[asked_in, code] if not used & fact[0]), None)
        if found is None:
            missing[asked_in, code] += 1
            continue
        keys, asked, reference = found
        used |= keys
        made.setdefault(code, []).append(ask_in(asked, get(code), reference, table))
    return made, missing


def _facts(
    asked_in: str,
    code: str,
    prompts: Mapping[str, Sequence[Prompt]],
    in_language: Mapping[Pair, Prompt],
) -> Iterator[tuple[set[tuple[str, ...]], Prompt, str]]:
    """All facts for a pair: the keys that say it is used, who asks for it, and its reference.

    A fact is asked once for each record of the response language, and once for a pair whichever record it was found by.
    """
    for record in prompts.get(code, ()):
        own = record if record.instruction_language == asked_in else None
        asked = own or in_language.get((record.parallel_id, asked_in))
        if asked is not None:
            fact = record.parallel_id or record.id
            yield {(record.id,), (fact, asked_in, code)}, asked, record.output
    records = prompts.get(asked_in, ())
    # Each pair begins elsewhere: else all would ask the first few questions.
    first = int(sha256(f"{asked_in}>{code}".encode()).hexdigest(), 16) % max(1, len(records))
    for record in chain(islice(records, first, None), islice(records, first)):
        if not record.output and record.instruction_language == asked_in:
            fact = record.parallel_id or record.id
            yield {(fact, code), (fact, asked_in, code)}, record, ""
