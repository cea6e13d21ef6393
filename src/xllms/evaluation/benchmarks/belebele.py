"""Benchmark `belebele`: four answers to a question on a passage of FLORES (Bandarkar et al. 2024), in 117 languages.

`standard` ranks the letters A to D by likelihood, with lm-evaluation-harness's words, which are those of the data's
authors; solved examples come from the same 900 questions, as there is no other split. Where a letter is to be written,
the authors' instruction asks for it.

The data have 122 variants, in FLORES codes. Five are in Latin script where the registry has the native one only, and
are left out: ben_Latn, hin_Latn, npi_Latn, sin_Latn, urd_Latn.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from xllms.errors import InputError
from xllms.evaluation.benchmark import Asked, Benchmark, Item, Table, Task
from xllms.evaluation.data import Files, Row, field, limited, number
from xllms.evaluation.letters import LETTERS, read_letter

_CODES = """
acm_Arab afr_Latn als_Latn amh_Ethi apc_Arab arb_Arab arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng azj_Latn bam_Latn
ben_Beng bod_Tibt bul_Cyrl cat_Latn ceb_Latn ces_Latn ckb_Arab dan_Latn deu_Latn ell_Grek eng_Latn est_Latn eus_Latn
fin_Latn fra_Latn fuv_Latn gaz_Latn grn_Latn guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hrv_Latn hun_Latn hye_Armn
ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn jpn_Jpan kac_Latn kan_Knda kat_Geor kaz_Cyrl kea_Latn khk_Cyrl
khm_Khmr kin_Latn kir_Cyrl kor_Hang lao_Laoo lin_Latn lit_Latn lug_Latn luo_Latn lvs_Latn mal_Mlym mar_Deva mkd_Cyrl
mlt_Latn mri_Latn mya_Mymr nld_Latn nob_Latn npi_Deva nso_Latn nya_Latn ory_Orya pan_Guru pbt_Arab pes_Arab plt_Latn
pol_Latn por_Latn ron_Latn rus_Cyrl shn_Mymr sin_Sinh slk_Latn slv_Latn sna_Latn snd_Arab som_Latn sot_Latn spa_Latn
srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn tam_Taml tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi tsn_Latn tso_Latn
tur_Latn ukr_Cyrl urd_Arab uzn_Latn vie_Latn war_Latn wol_Latn xho_Latn yor_Latn zho_Hans zho_Hant zsm_Latn zul_Latn
"""
LANGUAGES = frozenset(_CODES.split())
_INSTRUCTION = (
    "Given the following passage, query, and answer choices, output the letter corresponding to the correct answer."
)


class Belebele(Benchmark):
    """Accuracy by likelihood, or of a written letter."""

    name = "belebele"

    def tables(self, asked: Asked) -> Iterator[Table]:
        """`belebele.ranked` and `belebele.written`."""
        files = Files(asked, self.name)
        ways = asked.ways
        tasks: dict[str, list[Task]] = {way: [] for way in ways}
        for language in asked.languages:
            code = language.code
            names = [f"{code}.jsonl", f"data/{code}.jsonl"]
            rows = files.rows(names, code) if code in LANGUAGES else None
            if rows is None:
                continue
            if len(rows) <= asked.options.shots:
                raise InputError(f"{rows[0][0]}: {len(rows)} questions are too few for {asked.options.shots} shots")
            for way in ways:
                places = limited(range(len(rows)), asked)
                items = tuple(_item(way, code, place, rows, asked.options.shots) for place in places)
                tasks[way].append(Task(code, code, items))
        files.close()
        if "ranked" in tasks:
            yield Table("belebele.ranked", tasks["ranked"])
        if "written" in tasks:
            yield Table("belebele.written", tasks["written"], asked.options.max_new_tokens or 512)

    def parse(self, item: Item, output: str) -> str | None:
        """As `read_letter`."""
        return read_letter(output, item.source.split("\n"))


def _item(way: str, code: str, place: int, rows: Sequence[Row], shots: int) -> Item:
    row = rows[place]
    context = _context if way == "ranked" else _prompt
    gold, choices = _gold(row), _choices(row)
    # The first of the others: an item that is among the first gets the next instead of itself.
    others = islice((other for other in rows if other is not row), shots)
    between = " " if way == "ranked" else ""
    solved = "".join(f"{context(other)}{between}{LETTERS[_gold(other)]}\n\n" for other in others)
    return Item(
        id=f"belebele:{code}:{place}",
        prompt=solved + context(row),
        reference=LETTERS[gold],
        choices=tuple(f" {letter}" for letter in LETTERS) if way == "ranked" else (),
        gold=gold if way == "ranked" else None,
        source="\n".join(" ".join(choice.split()) for choice in choices),
    )


def _context(row: Row) -> str:
    """What the letters go on from."""
    answers = "".join(f"{letter}: {choice}\n" for letter, choice in zip(LETTERS, _choices(row), strict=True))
    return f"P: {field(row, 'flores_passage')}\nQ: {field(row, 'question').strip()}\n{answers}Answer:"


def _prompt(row: Row) -> str:
    answers = "".join(f"({letter}) {choice}\n" for letter, choice in zip(LETTERS, _choices(row), strict=True))
    return (
        f"{_INSTRUCTION}\n###\nPassage:\n{field(row, 'flores_passage')}\n###\nQuery:\n{field(row, 'question')}\n###\n"
        f"Choices:\n{answers}###\nAnswer:\n"
    )


def _choices(row: Row) -> list[str]:
    return [field(row, f"mc_answer{place}") for place in range(1, 5)]


def _gold(row: Row) -> int:
    return number(row, "correct_answer_num", 4, first=1)


benchmark = Belebele()
