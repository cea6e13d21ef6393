"""The page and the text table, built from a small run that this file writes."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from xllms.errors import InputError
from xllms.predictions import write_predictions
from xllms.records import Prediction
from xllms.report import build, summary_table
from xllms.report.charts import axis
from xllms.report.heatmap import STEPS, step
from xllms.report.script import MAX_CHARACTERS, describe, text_in

HOSTILE = "</script><script>alert('x')</script><img src=https://evil.example/x.png onerror=\"alert(1)\">"
RIGHT_TO_LEFT_OVERRIDE = "\u202e"
ARABIC, HEBREW, URDU = "ألمانيا", "גרמניה", "جرمنی"
MODELS = ("base", "sft", "dpo")
VOID = {"meta", "link", "img", "br", "input", "hr", "source"}


class Page(HTMLParser):
    """Elements of a page with their attributes and text; complains about tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {[tag for tag, _, _ in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element: tuple[str, dict[str, str | None], list[str]] = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1][0] == tag, f"</{tag}> closes {self._open[-1][0]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for _, _, text in self._open:
            text.append(data)

    def find(self, tag: str, **wanted: str) -> Iterator[tuple[dict[str, str | None], str]]:
        for name, attributes, text in self.elements:
            if name == tag and all(attributes.get(key.rstrip("_")) == value for key, value in wanted.items()):
                yield attributes, "".join(text)


def cell(chrf: float, exact: float, off: float | None, decided: int = 8) -> dict[str, Any]:
    return {
        "n": 12, "chrf": chrf, "exact_match": exact, "off_target": off,
        "decided": decided, "undecided": 11 - decided, "empty": 1,
    }  # fmt: skip


LANGUAGES = {
    "arb_Arab": [cell(12.34, 0.0, 0.625), cell(41.26, 0.25, 0.125), cell(43.71, 0.5, 0.0)],
    "heb_Hebr": [cell(9.87, 0.0, None, 0), cell(38.19, 0.25, 0.0), cell(31.08, 0.25, None, 0)],
    "swh_Latn": [cell(15.43, 0.0, 1.0), cell(14.02, 0.0, 0.25), cell(55.55, 0.75, 0.375)],
    "zzz_Arab": [cell(1.11, 0.0, 0.5), cell(2.22, 0.0, 0.5), cell(3.33, 0.0, 0.5)],
}


def mean(value: float | None, low: float, high: float, democratization: float | None, **more: int) -> dict[str, Any]:
    numbers = {"mean": value, "low": low, "high": high, "democratization": democratization}
    return {**numbers, "n_languages": 4, "n": 1248, **more}


def scores() -> dict[str, Any]:
    off = {"decided": 907, "undecided": 253, "empty": 52}
    summary = {
        model: {
            "chrf": mean(value, value - 1.17, value + 1.23, 0.6543),
            "exact_match": mean(value / 100, 0.05, 0.45, 0.3344),
            "off_target": mean(0.531, 0.4, 0.6, None, **off),
        }
        for model, value in zip(MODELS, (9.69, 23.92, 33.42), strict=True)
    }
    comparison = {
        "a": "base", "b": "sft", "metric": "chrf", "difference": 14.23, "low": 8.91, "high": 21.21,
        "p": 0.00001, "wins": 3, "ties": 0, "losses": 1,
    }  # fmt: skip
    unclear = {
        **comparison,
        "a": "sft",
        "b": "dpo",
        "difference": 0.31,
        "low": -1.04,
        "high": 1.66,
        "p": 0.4321,
    }
    metrics = {
        "chrf": {"label": "chrF++", "higher_is_better": True, "scale": 100},
        "exact_match": {"label": "Exact match", "higher_is_better": True, "scale": 1},
        "off_target": {"label": "Off-target rate", "higher_is_better": False, "scale": 1},
    }
    languages = {code: dict(zip(MODELS, cells, strict=True)) for code, cells in LANGUAGES.items()}
    facts = {
        "metrics": metrics,
        "languages": languages,
        "summary": summary,
        "comparisons": [comparison, unclear],
    }
    return {"models": list(MODELS), "benchmarks": {"facts": facts}}


def prediction(model: str, code: str, item: int, output: str, reference: str, **more: Any) -> Prediction:
    return Prediction(
        id=f"item-{item}",
        benchmark="facts",
        model=model,
        language=code,
        kind="territory",
        prompt=f"What is Germany called? {HOSTILE}",
        output=output,
        reference=reference,
        correct=output == reference,
        **{"parsed": output, "verdict": "right", **more},
    )


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def scores_only(tmp_path: Path) -> Path:
    run = tmp_path / "tiny"
    (run / "evaluation").mkdir(parents=True)
    (run / "evaluation" / "scores.json").write_text(json.dumps(scores()), encoding="utf-8")
    return run


@pytest.fixture
def run(scores_only: Path) -> Path:
    folder = scores_only
    predictions = folder / "evaluation" / "predictions" / "facts"
    for model in MODELS:
        wrong = {"verdict": "wrong", "found_language": "eng_Latn"}
        write_predictions(
            predictions / model / "arb_Arab.parquet",
            [
                prediction(model, "arb_Arab", 0, ARABIC, ARABIC),
                prediction(model, "arb_Arab", 1, "Germany", ARABIC, **wrong),
            ],
        )
        chrf = (40.0, 30.0, 7.0, 60.0, 50.0, 8.0, 70.0, 80.0, 90.0)
        hostile = [
            prediction(
                model, "swh_Latn", n, HOSTILE + RIGHT_TO_LEFT_OVERRIDE, "Ujerumani", scores={"chrf": one}, parsed=None
            )
            for n, one in enumerate(chrf)
        ]
        write_predictions(predictions / model / "swh_Latn.parquet", hostile)
        nothing = [prediction(model, "heb_Hebr", 0, "\x00", HEBREW)]
        write_predictions(predictions / model / "heb_Hebr.parquet", nothing)
    pair = {
        "id": "p0", "instruction": "Name Germany.", "language": "urd_Arab",
        "chosen": URDU, "rejected": "Germany",
        "chosen_reason": "closest (100.0)", "rejected_reason": f"wrong language {HOSTILE}",
    }  # fmt: skip
    write_lines(folder / "feedback" / "preferences" / "urd_Arab.jsonl", [pair, {**pair, "id": "p1"}])
    for stage in ("sft", "dpo"):
        rows: list[dict[str, Any]] = [
            {"step": n, "split": "train", "loss": 3.0 / n, "margin": n / 7, "accuracy": 0.5, "languages": {}}
            for n in (1, 2, 3)
        ]
        rows.append({"step": 3, "split": "validation", "loss": 1.5, "languages": {"swh_Latn": {"loss": 1.25, "n": 4}}})
        rows.append({"step": 4, "split": "train", "loss": float("nan"), "languages": {}})
        write_lines(folder / stage / "metrics.jsonl", rows)
    manifest = {
        "stage": "sft",
        "files": {"a": "0"},
        "counts": {"kept": 4321},
        "seconds": 452.0,
        "versions": {"torch": "9.9"},
    }
    (folder / "sft" / "manifest.json").write_text(json.dumps(manifest))
    (folder / "recipe.yaml").write_text(f"model:\n  name: tiny-model\n# {HOSTILE}\n")
    return folder


def page_of(folder: Path) -> tuple[str, Page]:
    html = build(folder).read_text(encoding="utf-8")
    return html, Page(html)


def test_the_page_is_one_whole_file_and_the_same_each_time(run: Path) -> None:
    path = build(run)
    assert path == run / "report" / "report.html"
    first = path.read_bytes()
    assert build(run).read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_hostile_text_stays_text(run: Path) -> None:
    html, page = page_of(run)
    assert "<img" not in html
    assert "<script>alert" not in html
    assert len(list(page.find("script"))) == 2
    assert not [name for _, attributes, _ in page.elements for name in attributes if name.startswith("on")]
    assert sum(HOSTILE in text for _, text in page.find("div", class_="text")) >= 12
    assert HOSTILE in "".join(text for _, text in page.find("pre"))


def test_invisible_and_reordering_characters_are_spelled_out(run: Path) -> None:
    html, _ = page_of(run)
    assert RIGHT_TO_LEFT_OVERRIDE not in html
    assert "⟦U+202E⟧" in html
    assert "⟦U+0000⟧" in html
    assert text_in("\ud800", None).text == "⟦U+D800⟧"
    assert text_in("a\u200cb\u200fc\n\td", "pes_Arab").text == "a\u200cb\u200fc\n\td"


def test_hostile_names_cannot_leave_the_embedded_json(scores_only: Path) -> None:
    value = scores()
    value["benchmarks"]["facts"]["metrics"]["chrf"]["label"] = f"{HOSTILE}\u2028"
    (scores_only / "evaluation" / "scores.json").write_text(json.dumps(value))
    html, page = page_of(scores_only)
    assert "\u2028" not in html.partition('id="switch">')[2]
    [(_, text)] = page.find("script", id="switch")
    assert json.loads(text)[0]["label"] == f"facts: {HOSTILE}\u2028"


def test_text_has_its_language_and_direction(run: Path) -> None:
    _, page = page_of(run)
    texts = [(a["lang"], a["dir"], t) for a, t in page.find("div", class_="text")]
    assert ("ar", "rtl", ARABIC) in texts
    assert ("he", "rtl", HEBREW) in texts
    assert ("ur", "rtl", URDU) in texts
    assert ("en", "ltr", "Germany") in texts, "a wrong-language answer is marked as the language it is in"
    assert ("", "ltr", "Germany") in texts, "a rejected answer in some other language claims none"
    assert ("sw", "ltr", "Ujerumani") in texts
    [(attributes, _)] = [(a, t) for a, t in page.find("bdi", lang="he") if t == describe("heb_Hebr").autonym][:1]
    assert attributes["dir"] == "rtl"
    assert any("in English" in text for _, text in page.find("span", class_="tag wrong"))


def test_direction_follows_the_text_and_else_the_language() -> None:
    assert text_in("Germany", "arb_Arab").dir == "ltr"
    assert text_in("12.5", "arb_Arab").dir == "rtl"
    assert text_in("12.5", None).dir == "ltr"
    long = text_in("ab" * MAX_CHARACTERS, "swh_Latn")
    assert (len(long.text), long.cut) == (MAX_CHARACTERS + 1, 2 * MAX_CHARACTERS)


def test_a_code_that_the_registry_does_not_know_still_renders(run: Path) -> None:
    info = describe("zzz_Arab")
    assert (info.name, info.direction, info.script, info.bcp47) == ("zzz_Arab", "rtl", "Arabic", "zzz-Arab")
    _, page = page_of(run)
    assert list(page.find("tr", id="row-zzz_Arab"))


def test_nothing_is_loaded_and_only_the_page_s_own_script_and_style_may_run(run: Path) -> None:
    html, page = page_of(run)
    [(meta, _)] = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    policy = str(meta["content"])
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    styles = [text for _, text in page.find("style")]
    scripts = [text for attributes, text in page.find("script") if "type" not in attributes]
    for source in (*styles, *scripts):
        assert base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() in policy
    assert (len(styles), len(scripts)) == (1, 1)
    assert "url(" not in styles[0] and "@import" not in styles[0]
    for tag, attributes, _ in page.elements:
        assert "src" not in attributes and "style" not in attributes, tag
        assert str(attributes.get("href", "#")).startswith(("#", "../evaluation/predictions/")), tag
    outside = re.sub(r"https://evil\.example", "", html)
    assert "http:" not in outside and "https:" not in outside


def test_links_within_the_page_lead_somewhere(run: Path) -> None:
    _, page = page_of(run)
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    addresses = [str(a["href"]) for a, _ in page.find("a")]
    links = [address[1:] for address in addresses if address.startswith("#")]
    assert len(links) > 10
    assert set(links) <= set(ids)
    files = [run / "report" / unquote(address) for address in addresses if not address.startswith("#")]
    assert len(files) == len(MODELS) * (3 + 1)  # three languages' files, and the folder
    assert all(path.exists() for path in files)


def test_numbers_are_those_of_the_scores(run: Path) -> None:
    _, page = page_of(run)
    rows = {str(a["id"]): a for a, _ in page.find("tr") if str(a.get("id", "")).startswith("row-")}
    assert set(rows) == {f"row-{code}" for code in LANGUAGES}
    values = [a["data-v"] for a, _ in page.find("td") if "data-v" in a]
    for cells in LANGUAGES.values():
        for one in cells:
            assert str(one["chrf"]) in values
    [(_, text)] = page.find("script", id="switch")
    shown = json.loads(text)[0]["cells"]
    assert [entry[2] for entry in shown["arb_Arab"]] == [12.34, 41.26, 43.71]
    assert [entry[0] for entry in shown["arb_Arab"]] == ["12.3", "41.3", "43.7"]
    headline = "".join(text for _, text in page.find("section", id="headline"))
    for number in ("9.7", "23.9", "33.4", "8.5 to 10.9", "democratization 0.65", "1,248 items", "53.1"):
        assert number in headline
    assert "907 decided, 253 undecided, 52 empty" in headline
    assert "SFT against Base +14.2, better (95% interval +8.9 to +21.2, p\u00a0<\u00a00.0001)" in headline
    assert "DPO against SFT +0.3, no clear difference" in headline


def test_an_off_target_rate_of_which_nothing_is_known_is_a_dash(run: Path) -> None:
    _, page = page_of(run)
    [(_, row)] = page.find("tr", id="row-heb_Hebr")
    assert "–/0" in row
    fails = "".join(text for _, text in page.find("section", id="fails"))
    assert "Nothing decided for 1: Hebrew." in fails


def test_where_it_fails_names_the_languages_that_got_worse(run: Path) -> None:
    _, page = page_of(run)
    fails = " ".join("".join(text for _, text in page.find("section", id="fails")).split())
    assert "SFT worse than Base: 1 of 4 languages" in fails
    assert "DPO worse than SFT: 1 of 4 languages" in fails
    assert "−1.4" in fails and "−7.1" in fails
    assert fails.index("zzz_Arab") < fails.index("Hebrew")


def test_samples_are_few_and_pairs_have_reasons(run: Path) -> None:
    _, page = page_of(run)
    [(_, swahili)] = page.find("details", id="sample-1-swh_Latn")
    assert re.findall(r"(Answered worst: )?territory (item-\d)", swahili) == [
        ("Answered worst: ", "item-2"),
        ("Answered worst: ", "item-5"),
        ("", "item-0"),
        ("", "item-1"),
    ]
    assert "chrF++ 7.0" in swahili and "no answer found" in swahili
    pairs = "".join(text for _, text in page.find("section", id="pairs"))
    assert "2 pairs in 1 languages" in pairs
    assert "closest" in pairs and "wrong language" in pairs


def test_curves_and_stages_are_shown(run: Path) -> None:
    _, page = page_of(run)
    labels = [str(a["aria-label"]) for a, _ in page.find("svg")]
    assert any(label.startswith("SFT: loss. train: 3 at first, 1 at last; validation: 1.5") for label in labels)
    assert {"DPO: margin", "DPO: accuracy"} <= {label.partition(".")[0] for label in labels}
    assert "nan" not in " ".join(str(a.get("points")) for a, _ in page.find("polyline"))
    making = "".join(text for _, text in page.find("section", id="making"))
    for fact in (
        "7 min 32 s",
        "torch 9.9",
        "4,321",
        "No manifest of: instructions, feedback, dpo, evaluation.",
    ):
        assert fact in making


def test_what_is_absent_is_said_to_be_absent(scores_only: Path) -> None:
    _, page = page_of(scores_only)
    absent = [text for _, text in page.find("p", class_="absent")]
    for name in (
        "evaluation/predictions/facts/",
        "feedback/preferences/",
        "sft/metrics.jsonl",
        "dpo/metrics.jsonl",
        "recipe.yaml",
    ):
        assert any(name in text for text in absent), name


@pytest.mark.parametrize("function", [build, summary_table])
def test_without_scores_the_error_says_what_to_run(function: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scores\.json.*run `xllms evaluate RECIPE` first"):
        function(tmp_path)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("text", ["[]", '{"models": ["base"]}', '{"models": [], "benchmarks": {}}', "{"])
def test_a_broken_scores_file_is_named(text: str, scores_only: Path) -> None:
    (scores_only / "evaluation" / "scores.json").write_text(text)
    with pytest.raises(InputError, match=r"scores\.json"):
        build(scores_only)


def test_a_language_that_one_model_was_not_asked_in_is_a_gap(scores_only: Path) -> None:
    value = scores()
    del value["benchmarks"]["facts"]["languages"]["swh_Latn"]["dpo"]
    (scores_only / "evaluation" / "scores.json").write_text(json.dumps(value))
    _, page = page_of(scores_only)
    [(_, row)] = page.find("tr", id="row-swh_Latn")
    assert "–" in row
    assert "Swahili" not in summary_table(scores_only)


def test_the_text_table_says_it_all(scores_only: Path) -> None:
    table = summary_table(scores_only)
    lines = [re.sub(r"\s+", " ", line).strip() for line in table.splitlines()]
    assert lines[0] == "facts: 4 languages, means over languages"
    assert "chrF++ base 9.7 8.5 to 10.9 0.65 4 1,248" in lines
    assert "dpo 33.4 32.2 to 34.6 0.65 4 1,248" in lines
    assert "Off-target rate, % base 53.1 40.0 to 60.0 – 4 907 decided, 253 undecided, 52 empty" in lines
    assert "chrF++ base → sft +14.2 +8.9 to +21.2 < 0.0001 3 0 1 better" in lines
    assert "chrF++ sft → dpo +0.3 −1.0 to +1.7 0.4321 3 0 1 no clear difference" in lines
    assert "all Swahili 55.5 (15.4), Arabic 43.7 (12.3), Hebrew 31.1 (9.9), zzz_Arab 3.3 (1.1)" in lines


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"p": 1.0}, "+14.2, no clear difference (95% interval +8.9 to +21.2, p\u00a0=\u00a01.0000)"),
        ({"p": 0.05}, "+14.2, no clear difference"),
        ({"p": None}, "+14.2, no clear difference"),
        ({"low": None, "high": None}, "+14.2, too few languages to tell (p\u00a0<\u00a00.0001)"),
    ],
)
def test_better_is_said_where_interval_and_test_agree(changed: dict[str, Any], said: str, scores_only: Path) -> None:
    value = scores()
    value["benchmarks"]["facts"]["comparisons"][0] |= changed
    (scores_only / "evaluation" / "scores.json").write_text(json.dumps(value))
    _, page = page_of(scores_only)
    assert f"SFT against Base {said}" in "".join(text for _, text in page.find("section", id="headline"))
    (line,) = [one for one in summary_table(scores_only).splitlines() if "base → sft" in one]
    assert line.endswith(said[said.index(", ") + 2 :].partition(" (")[0])


def test_a_score_of_some_items_says_of_how_many(scores_only: Path) -> None:
    note = "After a score that is not of all n items"
    html, _ = page_of(scores_only)
    assert note not in html
    value = scores()
    value["benchmarks"]["facts"]["languages"]["arb_Arab"]["sft"]["counted"] = {"exact_match": 4, "off_target": 8}
    (scores_only / "evaluation" / "scores.json").write_text(json.dumps(value))
    html, page = page_of(scores_only)
    assert note in html
    [(_, row)] = page.find("tr", id="row-arb_Arab")
    assert "25.0/4" in row and "12.5/8" in row and row.count("/4") == 1


def test_best_and_worst_five_of_many_languages(scores_only: Path) -> None:
    value = scores()
    codes = [
        "deu_Latn",
        "fra_Latn",
        "spa_Latn",
        "por_Latn",
        "ita_Latn",
        "pol_Latn",
        "ces_Latn",
        "fin_Latn",
        "est_Latn",
    ]
    languages = value["benchmarks"]["facts"]["languages"]
    languages.update({code: {m: cell(60.0 + n, 0, 0.0) for m in MODELS} for n, code in enumerate(codes)})
    (scores_only / "evaluation" / "scores.json").write_text(json.dumps(value))
    best, worst = [
        line.strip() for line in summary_table(scores_only).splitlines() if " best " in line or " worst " in line
    ]
    assert best.startswith("best   Estonian 68.0 (68.0), Finnish 67.0") and best.count("(") == 5
    assert worst.startswith("worst  zzz_Arab 3.3 (1.1), Hebrew 31.1") and worst.count("(") == 5


def test_colours_cover_the_range() -> None:
    assert [step(v, 0.0, 90.0) for v in (0.0, 45.0, 90.0)] == [0, STEPS // 2, STEPS - 1]
    assert step(None, 0.0, 1.0) is None
    assert step(3.0, 3.0, 3.0) == STEPS // 2


def test_axes_hold_their_data_and_have_round_ticks() -> None:
    loss = axis([0.83, 4.21], 200.0, 0.0)
    assert (loss.ticks, loss.place(loss.low), loss.place(loss.high)) == (
        (0.0, 1.0, 2.0, 3.0, 4.0, 5.0),
        200.0,
        0.0,
    )
    assert [axis([-0.02, 0.07], 0, 1).label(t) for t in (-0.02, 0.06)] == ["−0.02", "0.06"]
    assert axis([7.0, 7.0], 0, 1).low < 7.0 < axis([7.0, 7.0], 0, 1).high
    assert axis([1, 101], 0, 1, steps=True).ticks == (50.0, 100.0)
