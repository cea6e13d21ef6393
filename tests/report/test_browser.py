"""The page in a real browser: nothing a model wrote runs, it fits a telephone, and keys reach what a mouse does."""

import json
import re
import shutil
import subprocess
import unicodedata
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tests.report.chromium import dump, program, with_script
from tests.report.synthetic import make_run

from xllms.languages import resolve
from xllms.predictions import write_predictions
from xllms.records import Prediction
from xllms.report import build

MARK = "document.documentElement.dataset.ran='yes'"
ATTACKS = (
    f"<script>{MARK};alert(1)</script>",
    f"</script><script>{MARK}</script>",
    f'"><img src=x onerror="{MARK}">',
    f"</style><svg onload={MARK}>",
    f"</title></textarea></select><iframe srcdoc='<script>parent.{MARK}</script>'></iframe>",
    f"{{{{ {MARK} }}}}<details open ontoggle={MARK}>",
    f"\u202e<body onpageshow={MARK}>\u2066",
)
ALL = " ".join(ATTACKS)


def hostile_run(folder: Path) -> Path:
    """A comparison whose tables, models, metrics and languages are called by attacks, and whose answers are ones."""
    model, table = f"run:{ATTACKS[0]}", f"{ATTACKS[2]}.{ATTACKS[3]}"
    cell = {"n": 3, "accuracy": 0.5, "intervals": {"accuracy": [0.1, 0.9]}, "unparsed": 1}
    other = "run:b"
    change = {"difference": 0.5, "low": 0.1, "high": 0.9, "p": 0.01, "p_holm": 0.02}
    mean = {"mean": 0.5, "low": 0.1, "high": 0.9, "democratization": 1.0, "n_languages": 1, "n": 3, "deviation": 0.0,
            "worst": 0.5, "best": 0.5, "groups": {"script": {ALL: {"mean": 0.5, "n_languages": 1}}}}  # fmt: skip
    both = {"swh_Latn": {model: cell, other: cell}, ALL: {model: cell, other: cell}}
    benchmark: dict[str, Any] = {
        "metrics": {"accuracy": {"label": f"Accuracy {ALL}", "higher_is_better": True, "scale": 1}},
        "languages": both,
        "summary": {model: {"accuracy": mean}, other: {"accuracy": mean}},
        "comparisons": [{"a": model, "b": other, "metric": "accuracy", "difference": 0.1, "low": 0, "high": 1,
                         "p": 0.5, "wins": 1, "ties": 0, "losses": 0}],
        "tests": {f"{model}|{other}": {"accuracy": dict.fromkeys(both, change)}},
    }  # fmt: skip
    (folder / "evaluation").mkdir(parents=True)
    scores = {"models": [model, other], "benchmarks": {table: benchmark, "second": benchmark}}
    (folder / "evaluation" / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    return folder


def with_answers(folder: Path) -> Path:
    """A run whose prompts, answers and references are attacks."""
    run = make_run(folder, ("xcopa.ranked",), ("base",), items=2, languages=["Swahili", "Thai"])
    answer = Prediction(id=ALL, benchmark="xcopa.ranked", model="base", language="swh_Latn", kind=ALL, prompt=ALL,
                        output=ALL, reference=ALL, correct=False, verdict="wrong", found_language=ALL)  # fmt: skip
    path = run / "evaluation" / "predictions" / "xcopa.ranked" / "base" / "swh_Latn.parquet"
    write_predictions(path, [answer])
    (run / "recipe.yaml").write_text(ALL, encoding="utf-8")
    return run


@pytest.mark.parametrize("make", [hostile_run, with_answers])
def test_nothing_that_a_model_or_a_name_says_runs(make: Any, tmp_path: Path) -> None:
    page = build(make(tmp_path / "run"))
    for shown in (page, with_script(page, "document.documentElement.dataset.own='yes'")):
        document = dump(shown)
        opening = re.search(r"<html[^>]*>", document)
        assert opening is not None
        assert "data-ran" not in opening[0], "an attack ran"
        assert ("data-own" in opening[0]) == (shown != page), "the policy holds scripts back, and the copy has none"
        assert "<img" not in document and "<iframe" not in document
        assert "&lt;script&gt;" in document
        text = unescape(re.sub(r"<[^>]*>", "", document))
        assert ATTACKS[0] in text
        assert not {"\u202e", "\u2066"} & set(document)


def test_the_check_above_can_fail(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    for attack in (ATTACKS[0].replace("alert(1)", ""), ATTACKS[2], ATTACKS[3]):
        page.write_text(f'<!DOCTYPE html><html><body><p title="{attack}">{attack}</p></body></html>')
        assert 'data-ran="yes"' in dump(page), attack


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program()
    return build(make_run(tmp_path_factory.mktemp("run") / "hundred", ("facts", "xcopa.ranked"), items=8))


def told(page: Path, script: str) -> Any:
    """What a script finds out in the page once the page's own has run."""
    source = f"document.documentElement.dataset.told = JSON.stringify((() => {{ {script} }})())"
    found = re.search(r'data-told="([^"]*)"', dump(with_script(page, source)))
    assert found is not None, "the script failed"
    return json.loads(unescape(found[1]))


def told_in_frame(page: Path, script: str, width: int) -> Any:
    """The same in a frame, since the window of a headless Chromium is 500 pixels wide at least."""
    copy = with_script(page, f"parent.postMessage(JSON.stringify((() => {{ {script} }})()), '*')")
    outer = page.with_name("outer.html")
    outer.write_text(
        "<!DOCTYPE html><script>onmessage = (m) => { document.documentElement.dataset.told = m.data; };</script>"
        f'<iframe src="{copy.name}" width="{width}" height="900" style="border: 0"></iframe>'
    )
    found = re.search(r'data-told="([^"]*)"', dump(outer))
    assert found is not None, "the script failed"
    return json.loads(unescape(found[1]))


MEASURE = """
document.querySelectorAll("details").forEach((d) => { d.open = true; });
const wide = innerWidth, root = document.documentElement.scrollWidth;
const out = [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > wide + 1
  && !e.closest(".scroll, .text, pre, nav, .visually-hidden, [hidden]"));
return [wide, root, out.map((e) => e.tagName + "." + e.className).slice(0, 5)];
"""


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_is_never_wider_than_the_window(page: Path, width: int) -> None:
    inner, root, outside = told_in_frame(page, MEASURE, width)
    assert inner == width
    assert root <= width
    assert outside == []


def test_the_measure_above_can_fail(page: Path) -> None:
    widened = MEASURE.replace(
        "const wide", 'document.querySelector("main h2").style.cssText = "width: 500px"; const wide'
    )
    inner, root, outside = told_in_frame(page, widened, 400)
    assert (inner, outside) == (400, ["H2."])
    assert root > 400


def test_columns_are_sorted_by_a_key_press_and_say_so(page: Path) -> None:
    steps = """
    const table = document.querySelector("#table-1"), heads = [...table.querySelectorAll("thead tr:last-child th")];
    const n = heads.length - 1, button = heads[n].querySelector("button");
    button.focus();
    const reached = document.activeElement === button && button.tabIndex === 0;
    const values = () => [...table.tBodies[0].rows].map((row) => row.cells[n].dataset.v);
    button.click();
    const down = [heads[n].getAttribute("aria-sort"), values()];
    button.click();
    const marked = heads.filter((head) => head.hasAttribute("aria-sort")).length;
    return [reached, down, [heads[n].getAttribute("aria-sort"), values()], marked];
    """
    reached, down, up, marked = told(page, steps)
    assert reached
    assert marked == 1
    assert (down[0], up[0]) == ("descending", "ascending")
    for order, sign in ((down[1], -1), (up[1], 1)):
        numbers = [float(value) for value in order if value != ""]
        assert len(numbers) > 50
        assert numbers == sorted(numbers, key=lambda number: sign * number)
        assert "" not in order[: len(numbers)], "what was not measured stays at the end"


def test_a_key_reaches_every_head_box_and_link(page: Path) -> None:
    script = """
    const tables = [...document.querySelectorAll("table.sortable")];
    const heads = tables.flatMap((table) => [...table.querySelectorAll("thead tr:last-child th")]);
    const boxes = [...document.querySelectorAll(".scroll")];
    return [tables.length, heads.every((head) => head.querySelector("button")), boxes.length,
      boxes.every((box) => box.tabIndex === 0 && box.getAttribute("aria-label")),
      document.querySelectorAll("[tabindex]:not([tabindex='0'])").length];
    """
    tables, heads, boxes, named, odd = told(page, script)
    assert tables >= 6 and boxes >= 8
    assert heads and named
    assert odd == 0


def test_a_link_to_a_folded_row_opens_the_fold(page: Path) -> None:
    script = """
    const row = document.querySelector("#table-1 tr[id]"), fold = row.closest("details");
    fold.open = false;
    location.hash = row.id;
    window.dispatchEvent(new HashChangeEvent("hashchange"));
    return fold.open;
    """
    assert told(page, script) is True


def test_the_map_shows_any_metric_in_any_order(page: Path) -> None:
    script = """
    const form = document.querySelector("[data-map]"), labels = [...form.elements.metric.options].map((o) => o.text);
    form.elements.metric.value = labels.findIndex((label) => label.includes("Off-target"));
    form.elements.group.value = ""; form.elements.order.value = "last";
    form.dispatchEvent(new Event("change"));
    const cells = [...document.querySelectorAll(".tiles li:not([hidden])")].map((li) => li.lastElementChild.innerText);
    return [labels, document.querySelector(".map").className, cells];
    """
    labels, ramp, cells = told(page, script)
    assert labels[0] == "facts: chrF++" and "xcopa.ranked: Accuracy, %" in labels
    assert ramp == "map bad"
    rates = [float(text.split()[-1]) for text in cells if "–" not in text]
    assert len(rates) > 90
    assert rates == sorted(rates)


# Debian's fonts-noto-core has no ideographs, kana or Hangul: fonts-noto-cjk (56 MB) does.
IN_ANOTHER_PACKAGE = {"Hans", "Hant", "Jpan", "Hang"}


def test_every_script_has_a_font_here(page: Path) -> None:
    if shutil.which("fc-list") is None or "Noto Sans Ethiopic" not in _fonts(""):
        pytest.skip("no Noto fonts here (Debian: apt-get install fonts-noto-core)")
    missing = {
        language.script: letter
        for language in resolve(["hundred"])
        for letter in (language.autonym or "")
        if unicodedata.category(letter)[0] in "LM" and not _fonts(f":charset={ord(letter):x}")
    }
    assert set(missing) <= IN_ANOTHER_PACKAGE


def _fonts(pattern: str) -> str:
    return subprocess.run(["fc-list", pattern, "family"], capture_output=True, text=True, check=True).stdout
