"""Stage 3 on a tiny real model with everything on: cross-lingual prompts, three sources, all rejects, three rankers."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import write_recipe
from tests.feedback.test_cross_lingual import parallel_prompts
from tests.feedback.test_prompts import ultrafeedback
from xllms import pipeline
from xllms.engines.factory import local_content
from xllms.engines.local import LocalEngine
from xllms.engines.protocol import Engine, EngineError, Sampling, Usage, Written
from xllms.errors import InputError
from xllms.feedback import stage
from xllms.manifest import ChangedSettings, StageFolder, write_atomic
from xllms.models import load
from xllms.recipe import FeedbackSettings, LocalEngineSettings, ModelSettings, VllmSettings
from xllms.recipe_file import load_recipe
from xllms.records import to_jsonl
from xllms.splits import read_split

FULL: dict[str, Any] = {
    "languages": ["en", "fr", "sw", "th"],
    "prompts": 2,
    "max_new_tokens": 8,
    "plan": "uniform",
    "candidates": [
        {"engine": "sft", "samples": 1},
        {"engine": "base", "samples": 1, "temperature": 1.2},
        {"engine": "phrases", "samples": 2},
    ],
    "rejects": ["wrong_language", "code_mixed", "untranslated", "truncated", "other_question"],
    "rankers": [
        {"type": "language", "weight": 1},
        {"type": "reference", "weight": 2},
        {"type": "judge", "engine": "base", "compare": "pointwise", "max_new_tokens": 3},
    ],
    "pairing": {"mode": "all", "min_margin": 5, "max_pairs": 12},
    "batch_languages": 1,
}


CHEAP = [{"type": "language", "weight": 1}, {"type": "reference", "weight": 2}]


class Phrases:
    """An engine that says each prompt's own first words back; it stops for good after so many requests."""

    name = "phrases"

    def __init__(self, stops_after: int = 10**6) -> None:
        self.left = stops_after
        self.usage = Usage()

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        self.left -= len(prompts)
        if self.left < 0:
            raise EngineError("phrases: the server is gone; start it and run the same command again")
        return [
            Written(instruction[: 20 + 15 * (number % 2)], True, "filtered" if number == 0 else "")
            for number, (instruction, _) in enumerate(prompts)
        ]


@pytest.fixture(scope="module")
def sft(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = load_recipe(write_recipe(tmp_path_factory.mktemp("run"), tiny_model_folder))
    pipeline.run(recipe, ("instructions", "sft"))
    return recipe.output / "sft"


@pytest.fixture(scope="module")
def instructions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished instructions stage that holds real parallel prompts."""
    folder = tmp_path_factory.mktemp("parallel") / "instructions"
    done = StageFolder(folder, "instructions", {}, {})
    done.begin()
    paths = []
    for code, records in parallel_prompts().items():
        paths.append(folder / "feedback" / f"{code}.jsonl")
        write_atomic(paths[-1], to_jsonl(records))
    done.finish({}, paths)
    return folder


@pytest.fixture
def run(tiny_model_folder: Path, instructions: Path, sft: Path) -> Callable[..., None]:
    def start(folder: Path, engine: Callable[[], Engine] = Phrases, version: str = "1", **changed: Any) -> None:
        stage.run(
            FeedbackSettings.model_validate({**FULL, **changed}),
            ModelSettings(name=str(tiny_model_folder), dtype="float32"),
            "alpaca",
            3,
            instructions,
            sft,
            folder,
            engines={"phrases": engine},
            engine_settings={"phrases": {"version": version}, "another": {"key": "unused"}},
        )

    return start


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    paths = sorted((folder / kind).glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*.jsonl")}


def counts(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["counts"]
    return found


def test_everything_at_once(run: Callable[..., None], tmp_path: Path) -> None:
    run(tmp_path)
    pairs = rows(tmp_path, "preferences")
    assert len(pairs) > 20
    assert all(pair["instruction_language"] != pair["language"] for pair in pairs)
    assert all("\n" in pair["instruction"] for pair in pairs)
    assert len({pair["id"] for pair in pairs}) == len(pairs)
    stated = counts(tmp_path)
    assert sum(stated["asked"].values()) == 8
    assert len(stated["asked"]) == 8  # eight of the twelve pairs, each once
    assert stated["nothing parallel for"] == {}
    kinds = {reason.removeprefix("rejected: ") for reason in stated["reasons"] if reason.startswith("rejected")}
    assert {"wrong language", "code-mixed", "truncated", "other question"} <= kinds
    # Random weights answer no JSON: each comparison was asked for twice, and given up.
    made = stated["candidates"]
    assert made["judge: asked"] == made["judge: malformed at first"] == made["judge: no verdict"] > 0
    assert made["refused"] == 4  # one in each language
    candidates = rows(tmp_path, "candidates")
    origins = {sample["origin"] for row in candidates for sample in row["samples"]}
    assert "sample of phrases" in origins
    known = {sample["text"]: sample for row in candidates for sample in row["samples"]}
    for pair in pairs:
        if pair["chosen"] in known and not pair["chosen_reason"].startswith("reference"):
            assert known[pair["chosen"]]["language"] in ("right", "undecided")


@pytest.mark.parametrize(("languages", "requests"), [(1, 9), (3, 13)])
def test_what_an_engine_that_failed_had_finished_is_kept_and_the_end_is_the_same(
    run: Callable[..., None], tmp_path: Path, languages: int, requests: int
) -> None:
    run = partial(run, batch_languages=languages)
    run(tmp_path / "unbroken")
    broken = tmp_path / "broken"
    with pytest.raises(EngineError, match="the server is gone"):
        run(broken, lambda: Phrases(stops_after=requests))
    kept = contents(broken)
    assert 0 < len(kept) < len(contents(tmp_path / "unbroken"))
    assert not (broken / "manifest.json").exists()
    run(broken)
    assert contents(broken) == contents(tmp_path / "unbroken")
    assert counts(broken) == counts(tmp_path / "unbroken")
    assert kept.items() <= contents(broken).items()


def test_a_group_of_which_some_is_done_goes_on_with_the_same_answers(run: Callable[..., None], tmp_path: Path) -> None:
    for name in ("whole", "part"):
        run(tmp_path / name, batch_languages=4)
    done = sorted((tmp_path / "part" / "preferences").iterdir())
    assert len(done) == 4
    for path in (done[0], done[2], tmp_path / "part" / "manifest.json"):
        path.unlink()
    run(tmp_path / "part", batch_languages=4)
    assert contents(tmp_path / "part") == contents(tmp_path / "whole")


def test_another_engine_or_table_under_the_same_name_is_refused(run: Callable[..., None], tmp_path: Path) -> None:
    table = tmp_path / "wordings.csv"
    lines = ["code,wording,note", *(f"{code},Say it in {{language}}.," for code in ("en", "fr", "sw", "th"))]
    table.write_text("\n".join(lines), encoding="utf-8")
    folder = tmp_path / "feedback"
    run(folder, wordings=table, rankers=CHEAP)
    assert all("Say it in" in pair["instruction"] for pair in rows(folder, "preferences"))
    with pytest.raises(ChangedSettings, match=r"engines\.phrases\.version"):
        run(folder, version="2", wordings=table, rankers=CHEAP)
    table.write_text("\n".join(lines).replace("Say", "Tell"), encoding="utf-8")
    with pytest.raises(ChangedSettings, match="wordings gave other data"):
        run(folder, wordings=table, rankers=CHEAP)


def test_a_name_that_the_recipe_has_not_is_refused_before_any_work(run: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`phrase` is not one of the recipe's `engines` \(phrases\)"):
        run(tmp_path / "a", candidates=[{"engine": "phrase"}])
    with pytest.raises(InputError, match=r"`nllb` is not one of the recipe's `translators` \(none\)"):
        run(tmp_path / "b", rankers=[{"type": "translation", "translator": "nllb"}])
    assert not list(tmp_path.iterdir())


def test_a_plan_that_the_data_cannot_follow_says_so(run: Callable[..., None], tmp_path: Path) -> None:
    matrix = tmp_path / "matrix.csv"
    matrix.write_text("asked in,sw\nGerman,1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"no fact .* has an instruction in the one drawn language"):
        run(tmp_path / "a", plan="matrix", matrix=matrix)
    matrix.write_text("asked in,sw,th\nEnglish,3,0\nGerman,0,2\nFrench,3,0\n", encoding="utf-8")
    run(tmp_path / "b", plan="matrix", matrix=matrix, candidates=[{"engine": "phrases", "samples": 1}], rankers=CHEAP)
    assert counts(tmp_path / "b")["asked"] == {"eng_Latn -> swh_Latn": 3, "fra_Latn -> swh_Latn": 3}
    assert counts(tmp_path / "b")["nothing parallel for"] == {"deu_Latn -> tha_Thai": 2}
    assert {pair["language"] for pair in rows(tmp_path / "b", "preferences")} == {"swh_Latn"}


def test_the_samples_of_one_source_do_not_move_when_another_joins(run: Callable[..., None], tmp_path: Path) -> None:
    def of_sft(folder: Path) -> list[list[str]]:
        return [
            [s["text"] for s in row["samples"] if s["origin"].endswith("SFT model")]
            for row in rows(folder, "candidates")
        ]

    sft = {"engine": "sft", "samples": 40}  # the few of a random model that come to their end
    run(tmp_path / "one", candidates=[sft], rankers=[{"type": "reference"}])
    run(tmp_path / "two", candidates=[sft, {"engine": "phrases", "samples": 1}], rankers=[{"type": "reference"}])
    assert of_sft(tmp_path / "one") == of_sft(tmp_path / "two")
    assert sum(map(len, of_sft(tmp_path / "one"))) > 2
    # Nor when the same engine is asked at another temperature, which gives others.
    run(tmp_path / "hot", candidates=[sft, {**sft, "temperature": 1.5}], rankers=[{"type": "reference"}])
    cool, both = (of_sft(tmp_path / name) for name in ("one", "hot"))
    assert all(set(some) <= set(more) for some, more in zip(cool, both, strict=True))
    assert sum(map(len, both)) > sum(map(len, cool))


def test_the_implicit_reward_comes_from_finished_stages(run: Callable[..., None], sft: Path, tmp_path: Path) -> None:
    ranker = {"type": "implicit", "tuned": str(sft), "reference": str(sft)}
    sources = [{"engine": "phrases", "samples": 2}]
    run(tmp_path / "a", candidates=sources, rankers=[ranker])
    samples = [sample for row in rows(tmp_path / "a", "candidates") for sample in row["samples"]]
    assert samples
    assert {sample["total"] for sample in samples} == {50.0}  # a model against itself prefers nothing
    with pytest.raises(InputError, match="is not finished"):
        run(tmp_path / "b", candidates=sources, rankers=[{**ranker, "tuned": str(tmp_path / "dpo")}])


class Polyglot(Phrases):
    """An engine that answers each prompt in German, Swahili, English, and not at all, in turn."""

    SAID = (
        "Bäume treiben keinen Sport, aber sie wachsen jeden Tag ein wenig in die Höhe.",
        "Miti haichezi mchezo wowote, lakini inakua kidogo kila siku msituni.",
        "Trees do not play any sport, but they grow a little every day in the forest.",
        "",
    )

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        return [
            Written(f"{said} ({number // 4})" if (said := self.SAID[number % 4]) else "", True)
            for number in range(len(prompts))
        ]


UNANSWERED: dict[str, Any] = {
    "languages": ["de", "sw", "th"],
    "plan": "same",
    "prompts": 3,
    "batch_languages": 3,
    "candidates": [{"engine": "phrases", "samples": 4}],
    "rankers": [{"type": "language", "weight": 1}, {"type": "reference"}],
}


def test_prompts_without_answers(run: Callable[..., None], tmp_path: Path) -> None:
    files = [one.model_dump(mode="json") for one in ultrafeedback(tmp_path, ["de", "en", "sw", "th"], 6)]
    folder = tmp_path / "feedback"
    run(folder, Polyglot, **UNANSWERED, prompts_from=files)
    pairs, candidates = rows(folder, "preferences"), rows(folder, "candidates")
    assert [row["reference"] for row in candidates] == [""] * 9
    assert {sample["chrf"] for row in candidates for sample in row["samples"]} == {None}
    # The best answer in the language is chosen; Thai has none, and so no pair.
    own = {"deu_Latn": "Bäume treiben", "swh_Latn": "Miti haichezi"}
    assert {pair["language"] for pair in pairs} == set(own)
    assert all(pair["chosen"].startswith(own[pair["language"]]) for pair in pairs)
    assert all("language right; " in pair["chosen_reason"] for pair in pairs)
    assert all("chrF" not in pair["chosen_reason"] + pair["rejected_reason"] for pair in pairs)
    stated = counts(folder)
    assert stated["languages"]["tha_Thai"] == 0
    assert stated["candidates"]["no answer in the language"] == 3
    assert stated["candidates"]["reference: no reference"] == 9
    # Rejects that a sample can give: cut off, mixed with a sample in another language, said to another prompt.
    kinds = {made["kind"] for row in candidates for made in row["constructed"]}
    assert kinds == {"code_mixed", "truncated", "other_question"}
    assert all(not row["constructed"] for row in candidates if row["id"].endswith("tha_Thai"))
    mixed = next(pair for pair in pairs if pair["rejected_reason"].startswith("code-mixed"))
    assert mixed["rejected"].split()[0] == mixed["chosen"].split()[0]
    (cut,) = (made for made in candidates[0]["constructed"] if made["kind"] == "truncated")
    assert any(sample["text"].startswith(cut["text"]) for sample in candidates[0]["samples"])


def test_the_reference_alone_cannot_rank_what_has_none(run: Callable[..., None], tmp_path: Path) -> None:
    files = [one.model_dump(mode="json") for one in ultrafeedback(tmp_path, ["de", "sw"], 3)]
    more = {**UNANSWERED, "rankers": [{"type": "reference"}, {"type": "language", "weight": 0}]}
    with pytest.raises(InputError, match=r"only `reference` weighs, and 6 prompts have no answer .*give `language`"):
        run(tmp_path / "feedback", Polyglot, **more, prompts_from=files)
    assert not (tmp_path / "feedback").exists()


def test_other_prompts_under_the_same_path_are_refused(run: Callable[..., None], tmp_path: Path) -> None:
    files = ultrafeedback(tmp_path, ["de", "sw"], 3)
    own = [one.model_dump(mode="json") for one in files]
    run(tmp_path / "feedback", Polyglot, **UNANSWERED, prompts_from=own)
    run(tmp_path / "feedback", Polyglot, **UNANSWERED, prompts_from=own)
    files[1].path.write_text('{"instruction": "Taja mto.", "instruction_id": "a"}\n', encoding="utf-8")
    with pytest.raises(ChangedSettings, match=r"sw\.jsonl gave other data"):
        run(tmp_path / "feedback", Polyglot, **UNANSWERED, prompts_from=own)
    files[1].path.unlink()
    with pytest.raises(InputError, match=r"feedback\.prompts_from: .*sw\.jsonl: cannot be read"):
        run(tmp_path / "other", Polyglot, **UNANSWERED, prompts_from=own)


def test_a_cross_lingual_plan_over_prompts_without_answers(run: Callable[..., None], tmp_path: Path) -> None:
    files = [one.model_dump(mode="json") for one in ultrafeedback(tmp_path, ["en", "sw"], 6)]
    more = {**UNANSWERED, "plan": "english", "languages": ["en", "sw", "de"]}
    run(tmp_path / "feedback", Polyglot, **more, prompts_from=files)
    stated = counts(tmp_path / "feedback")
    # German has no prompts: it is answered in, and nothing can be asked in it.
    assert set(stated["asked"]) == {"eng_Latn -> swh_Latn", "swh_Latn -> eng_Latn", "eng_Latn -> deu_Latn"}
    assert set(stated["nothing parallel for"]) == {"deu_Latn -> eng_Latn"}
    pairs = rows(tmp_path / "feedback", "preferences")
    assert {pair["language"] for pair in pairs} == {"deu_Latn", "eng_Latn", "swh_Latn"}
    assert all(pair["instruction_language"] != pair["language"] for pair in pairs)


def test_a_local_model_that_was_trained_again_is_another_engine(tiny_model_folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(tiny_model_folder, own)
    sets = [
        f"engines={{other: {{type: transformers, name: {own}, dtype: float32}}, unused: {{type: vllm, name: {own}}}}}",
        "feedback.candidates=[{engine: other, samples: 1}]",
    ]
    recipe = load_recipe(write_recipe(tmp_path, tiny_model_folder), sets)
    pipeline.run(recipe, ("instructions", "sft", "feedback"))
    made = (recipe.output / "feedback" / "manifest.json").read_bytes()
    pipeline.run(recipe, ("feedback",))
    assert (recipe.output / "feedback" / "manifest.json").read_bytes() == made
    weights = own / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ChangedSettings, match=r"engines\.other\.content\.name"):
        pipeline.run(recipe, ("feedback",))


def test_what_a_tuned_engine_was_tuned_to_counts_by_its_content(sft: Path, tiny_model_folder: Path) -> None:
    settings = LocalEngineSettings(name=str(tiny_model_folder), tuned=sft)
    before = local_content(settings)
    assert set(before) == {"name", "tuned"}
    with pytest.raises(InputError, match="is not finished"):
        local_content(LocalEngineSettings(tuned=sft.parent / "dpo"))
    adapter = VllmSettings(name="some/model", adapter=sft / "adapter")
    assert set(local_content(adapter)) == {"adapter"}
    assert local_content(LocalEngineSettings()) == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"plan": "matrix"}, "matrix: FILE.csv go together"),
        ({"rankers": [{"type": "language"}]}, "all weights are 0"),
        ({"candidates": [{"engine": "sft"}, {"engine": "sft"}]}, "an engine stands twice"),
        ({"rankers": []}, "at least 1 item"),
        ({"pairing": {"max_length_ratio": 1}}, "greater than 1"),
    ],
)
def test_settings_that_contradict_themselves(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeedbackSettings.model_validate(settings)


def test_the_local_engine_serves_under_a_name(
    run: Callable[..., None], tiny_model_folder: Path, tmp_path: Path
) -> None:
    settings = ModelSettings(name=str(tiny_model_folder), dtype="float32")
    run(tmp_path, lambda: LocalEngine(load(settings, "alpaca")), rankers=CHEAP)
    assert len(rows(tmp_path, "candidates")) == 8


class Liner(Polyglot):
    """Answers as `Polyglot`, with line ends of other scripts within; some prompts it refuses."""

    def write(self, prompts: Sequence[tuple[str, str]], *rest: Any, **more: Any) -> list[Written]:
        said = super().write(prompts, *rest, **more)
        lined = [Written(one.text.replace(", ", ",\u2028\u0085"), True) for one in said]
        return [Written("", False, "phrases: refused: too long"), *lined[1:]]


def own_prompts(folder: Path, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [{"path": str(path)}]


def test_line_ends_of_other_scripts_in_an_answer_and_why_an_engine_refused(
    run: Callable[..., None], tmp_path: Path
) -> None:
    rivers = [{"instruction": f"Nenne Fluss {number}.", "language": "de"} for number in range(3)]
    run(tmp_path / "feedback", Liner, **UNANSWERED, prompts_from=own_prompts(tmp_path, *rivers))
    texts = [pair["chosen"] for pair in rows(tmp_path / "feedback", "preferences")]
    assert any("\u2028" in text for text in texts)
    assert counts(tmp_path / "feedback")["pairs"] == len(texts)
    assert counts(tmp_path / "feedback")["refusals"] == {"phrases": "phrases: refused: too long"}


def test_own_prompts_that_nobody_is_asked_are_counted(run: Callable[..., None], tmp_path: Path) -> None:
    rivers = [{"instruction": f"Nenne Fluss {number}.", "language": "de"} for number in range(5)]
    own = own_prompts(tmp_path, *rivers, {"instruction": "Nomme un fleuve.", "language": "fr"})
    run(tmp_path / "feedback", Polyglot, **UNANSWERED, prompts_from=own)
    assert counts(tmp_path / "feedback")["prompts_from"] == {
        "not in feedback.languages": {"fra_Latn": 1},
        "beyond feedback.prompts": 2,
    }
    for plan in ("same", "uniform"):
        more = {**UNANSWERED, "languages": ["Thai", "sw"], "plan": plan}
        with pytest.raises(InputError, match=r"are Thai, sw, the prompts are in deu_Latn, fra_Latn; name some"):
            run(tmp_path / plan, Polyglot, **more, prompts_from=own)


def test_own_prompts_that_the_evaluation_asks_are_left_out(sft: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    asked = read_split(sft.parent / "instructions", "evaluation")["deu_Latn"][0]
    given = [{"instruction": text, "language": "de"} for text in (asked.instruction, "Nenne einen Fluss.")]
    stage.run(
        FeedbackSettings.model_validate({**FULL, **UNANSWERED, "prompts_from": own_prompts(tmp_path, *given)}),
        ModelSettings(name=str(tiny_model_folder), dtype="float32"),
        "alpaca",
        3,
        sft.parent / "instructions",
        sft,
        tmp_path / "feedback",
        engines={"phrases": Polyglot},
    )
    assert counts(tmp_path / "feedback")["prompts_from"] == {"asked in the evaluation": 1}
    assert [row["instruction"] for row in rows(tmp_path / "feedback", "candidates")] == ["Nenne einen Fluss."]


def test_a_reference_in_another_language_is_not_chosen_and_is_counted(run: Callable[..., None], tmp_path: Path) -> None:
    english = Polyglot.SAID[2]
    asked = [{"instruction": f"Nenne Fluss {n}.", "language": "de", "output": english, "id": n} for n in range(2)]
    asked.append({"instruction": "Was ist das?", "language": "de", "output": Polyglot.SAID[0], "id": 2})
    own = own_prompts(tmp_path, *asked)
    for name, rankers in (("a", UNANSWERED["rankers"]), ("b", [{"type": "reference"}])):
        run(tmp_path / name, Polyglot, **{**UNANSWERED, "rankers": rankers}, prompts_from=own)
        pairs = rows(tmp_path / name, "preferences")
        assert pairs
        assert all(pair["chosen"].startswith("Bäume") for pair in pairs)
        assert counts(tmp_path / name)["reference in another language"] == {"deu_Latn": 2}
        assert {pair["parallel_id"] for pair in pairs} == {"own:0", "own:1", "own:2"} if name == "a" else {"own:2"}


def test_two_prompts_with_one_id_are_refused(sft: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "instructions"
    done = StageFolder(folder, "instructions", {}, {})
    done.begin()
    record = next(iter(parallel_prompts()["swh_Latn"]))
    write_atomic(folder / "feedback" / "swh_Latn.jsonl", to_jsonl([record, record]))
    done.finish({}, [folder / "feedback" / "swh_Latn.jsonl"])
    with pytest.raises(InputError, match=f"two prompts have the id {record.id}"):
        stage.run(
            FeedbackSettings(languages=("sw",)), ModelSettings(name="x"), "alpaca", 3, folder, sft, tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


class Shy(Polyglot):
    """Answers as `Polyglot`, and refuses to judge."""

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        if schema is not None:
            return [Written("", False, "phrases: refused: no opinions")] * len(prompts)
        return super().write(prompts, max_new_tokens, sampling)


def test_why_a_judge_refused_is_kept(run: Callable[..., None], tmp_path: Path) -> None:
    own = own_prompts(tmp_path, {"instruction": "Nenne einen Fluss.", "language": "de"})
    rankers = [{"type": "language", "weight": 1}, {"type": "judge", "engine": "phrases", "compare": "pointwise"}]
    run(tmp_path / "feedback", Shy, **{**UNANSWERED, "rankers": rankers}, prompts_from=own)
    stated = counts(tmp_path / "feedback")
    assert stated["refusals"] == {"phrases (judge)": "phrases: refused: no opinions"}
    assert stated["candidates"]["judge: refused"] == stated["candidates"]["judge: asked"] > 0
    assert "judge: malformed at first" not in stated["candidates"]
