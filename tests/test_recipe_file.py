"""Recipes as people write them: a mistake is answered with its place and the way out."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from xllms.checking import check
from xllms.errors import InputError
from xllms.recipe import CldrSource, PreferenceLoss, Recipe
from xllms.recipe_file import describe, load_recipe

ROOT = Path(__file__).parents[1]
SHIPPED = sorted((ROOT / "recipes").glob("*.yaml"))
SOURCES = "instructions:\n  sources:\n    - type: cldr\n"


def load(folder: Path, text: str | bytes, *overrides: str) -> Recipe:
    path = folder / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_recipe(path, overrides)


def refusal(folder: Path, text: str | bytes, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load(folder, text, *overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", SHIPPED, ids=[path.name for path in SHIPPED])
def test_shipped_recipes_load_and_their_languages_are_known(path: Path) -> None:
    recipe = load_recipe(path)
    check(recipe)
    assert load_recipe(path, ["seed=7"]).seed == 7


def test_a_recipe_is_shipped() -> None:
    assert "quickstart.yaml" in {path.name for path in SHIPPED}


@pytest.mark.parametrize("text", ["", "\n# nothing yet\n", "{}"])
def test_an_empty_file_gives_the_defaults(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text) == Recipe()


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("seed: 1\nsft:\n  epoch: 3\n", ":3:", ["unknown key `sft.epoch`", "did you mean `epochs`?"]),
        ("sft:\n  lora: {r: 1, alfa: 3}\n", ":2:", ["unknown key `sft.lora.alfa`", "did you mean `alpha`?"]),
        ("sfft: {}\n", ":1:", ["unknown key `sfft`", "did you mean `sft`?"]),
        (
            SOURCES + "      train: 3\n      trian: 5\n",
            ":5:",
            ["`instructions.sources.0.trian`", "did you mean `train`?"],
        ),
        (
            SOURCES + "    - type: alpaca\n      path: a.json\n      lang: x\n",
            ":6:",
            ["`instructions.sources.1.lang`", "`language`"],
        ),
        ("seed: 1\n\ntemplate: alpacca\n", ":3:", ["template", "'alpaca' or 'chat'", "got 'alpacca'"]),
        ("sft:\n  batch_size: many\n", ":2:", ["sft.batch_size", "integer", "got 'many'"]),
        ("sft:\n  batch_size: 0\n", ":2:", ["sft.batch_size", "greater than or equal to 1", "got 0"]),
        ("dpo:\n  beta: -0.5\n", ":2:", ["dpo.beta", "greater than 0", "got -0.5"]),
        ("feedback:\n  top_p: 1.5\n", ":2:", ["feedback.top_p", "less than or equal to 1", "got 1.5"]),
        ("languages: hundred\n", ":1:", ["languages", "a list such as [a, b]", "got 'hundred'"]),
        ("languages:\n  - sw\n  - no\n", ":3:", ["languages.1", "got False", "quote it"]),
        ("sft:\n", ":1:", ["sft", "a mapping of keys", "got None"]),
        (SOURCES.replace("cldr", "clrd"), ":3:", ["instructions.sources.0", "'cldr', 'alpaca'", "clrd"]),
        (SOURCES.replace("cldr", "alpaca"), ":3:", ["instructions.sources.0.path", "required"]),
        ("sft:\n  lora:\n    targets: q_proj\n", ":3:", ["sft.lora.targets: ", "'all-linear'", "list", "got 'q_proj'"]),
        ("evaluation:\n  benchmarks: [xcopa]\n", ":1:", ["evaluation.data", "--data"]),
        ("seed: 1\nseed: 2\n", ":2:", ["`seed` stands twice"]),
        (SOURCES + "      train: 1\n      train: 2\n", ":5:", ["`train` stands twice"]),
        ("seed: 1\nsft: [1\n", ":3:", ["not valid YAML"]),
        ("seed: 1\nsft: {a: b}: c\n", ":2:", ["not valid YAML"]),
        ("- seed\n", ":1:", ["a recipe is a YAML mapping"]),
        ("seed\n", ":1:", ["a recipe is a YAML mapping"]),
        ("output: 2024-13-45\n", "", ["not valid YAML", "month"]),
        (b"output: \x00\n", "", ["not valid YAML", "special characters"]),
        (b"\xff\xfe", "", ["not a UTF-8 text file"]),
    ],
)
def test_a_mistake_is_answered_with_its_line(tmp_path: Path, text: str | bytes, where: str, says: list[str]) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith(f"{tmp_path / 'mine.yaml'}{where}")
    for part in says:
        assert part in message


def test_a_key_of_another_kind_of_source_is_not_offered_to_itself(tmp_path: Path) -> None:
    message = refusal(tmp_path, SOURCES + "      language: Swahili\n")
    assert "unknown key `instructions.sources.0.language`" in message
    assert "did you mean `language`" not in message
    assert "train" in message


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("sft.lora.rank=3", ["unknown key `sft.lora.rank`"]),
        ("sft.lorra.r=3", ["unknown key `sft.lorra`", "did you mean `lora`?"]),
        ("sfft.epochs=3", ["unknown key `sfft`", "did you mean `sft`?"]),
        ("sft.lora.r=many", ["sft.lora.r", "integer", "got 'many'"]),
        ("sft.lora.r=0", ["sft.lora.r", "greater than or equal to 1"]),
        ("sft.lora.r=", ["sft.lora.r", "got None"]),
        ("sft.epochs.first=3", ["sft.epochs"]),
        ("seed.first=3", ["`seed` holds a single value"]),
        ("sft.lora.r", ["write KEY=VALUE"]),
        ("=3", ["write KEY=VALUE"]),
        ("languages=[sw", ["not valid YAML"]),
        ("languages=sw", ["languages", "a list such as [a, b]"]),
        ("feedback.languages.0=sw", ["feedback.languages", "list"]),
        ("instructions.sources.3.train=5", ["instructions.sources is a list of 1: use 0..0"]),
        ("instructions.sources.first.train=5", ["instructions.sources is a list of 1: use 0..0"]),
        ("instructions.sources.1=5", ["instructions.sources is a list of 1: use 0..0"]),
        ("instructions.sources.0.trian=5", ["unknown key `instructions.sources.0.trian`", "did you mean `train`?"]),
    ],
)
def test_a_mistake_in_an_override_names_the_override(tmp_path: Path, override: str, says: list[str]) -> None:
    message = refusal(tmp_path, "seed: 1\n" + SOURCES, "sft.epochs=2", override)
    assert message.startswith(f"--set {override}:")
    for part in says:
        assert part in message


def test_an_override_wins_over_the_file_and_a_later_one_over_it(tmp_path: Path) -> None:
    recipe = load(
        tmp_path,
        "sft:\n  learning_rate: 1\n" + SOURCES + "      train: 3\n",
        "sft.learning_rate=2e-4",
        "instructions.sources.0.train=5",
        "languages=[sw, de]",
        "sft.max_steps=7",
        "sft.max_steps=8",
        "sft.lora.targets=[q_proj]",
        "output=runs/mine=2",
    )
    assert recipe.sft.learning_rate == 2e-4
    assert recipe.instructions.sources == (CldrSource(train=5),)
    assert recipe.languages == ("sw", "de")
    assert (recipe.sft.max_steps, recipe.sft.lora.targets) == (8, ("q_proj",))
    assert recipe.output == Path("runs/mine=2")


def test_a_mistake_in_the_file_is_not_put_down_to_an_override(tmp_path: Path) -> None:
    message = refusal(tmp_path, "sft:\n  lora:\n    rang: 3\n", "sft.lora.r=3")
    assert message.startswith(f"{tmp_path / 'mine.yaml'}:3: unknown key `sft.lora.rang`")


def test_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: recipe cannot be read: No such file"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="recipe cannot be read"):
        load_recipe(tmp_path)


def _keys(model: BaseModel, prefix: str = "") -> Iterator[str]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _keys(value, f"{prefix}{name}.")
        elif isinstance(value, dict) and name in ("engines", "translators"):
            for one in value.values():
                yield from _keys(one, f"{prefix}{name}.NAME[{_kind(one)}].")
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for one in value:
                yield from _keys(one, f"{prefix}{name}[{_kind(one)}].")
        else:
            yield f"{prefix}{name}"


def _kind(model: BaseModel) -> str:
    kind = getattr(model, "type", "")
    return "nllb/madlad" if kind == "nllb" else kind


EVERYTHING = """
engines:
  a: {type: openai, model: m}
  b: {type: transformers}
  c: {type: vllm, name: m}
translators:
  p: {type: apertium}
  q: {type: nllb, name: m}
  r: {type: google, project: p}
  s: {type: chat, engine: a}
instructions:
  sources:
    - type: cldr
    - {type: alpaca, path: a.json}
    - {type: file, path: a.json}
    - {type: hub, dataset: d}
  translation: {translators: [p]}
feedback:
  prompts_from: [{path: p}]
  candidates: [{samples: 4}]
  rankers:
    - type: language
    - type: reference
    - {type: judge, engine: a}
    - {type: implicit, tuned: t, reference: r}
    - {type: translation, translator: p}
dpo:
  data: [{path: p}]
evaluation:
  judge: {engine: a}
"""


def test_describe_names_every_key_with_a_default_that_can_be_set(tmp_path: Path) -> None:
    lines = list(describe())
    described = {key: rest.partition("   # ")[0] for key, _, rest in (line.partition(" = ") for line in lines)}
    assert len(lines) == len(described) > 60
    whole = load(tmp_path, EVERYTHING)
    assert set(described) == set(_keys(whole))
    places = {"NAME[nllb/madlad]": "q", "[]": ".0"}
    for number, name in enumerate(("openai", "transformers", "vllm")):
        places[f"engines.NAME[{name}]"] = f"engines.{'abc'[number]}"
    for name, key in (("apertium", "p"), ("google", "r"), ("chat", "s")):
        places[f"NAME[{name}]"] = key
    for names in (("cldr", "alpaca", "file", "hub"), ("language", "reference", "judge", "implicit", "translation")):
        places.update({f"[{name}]": f".{number}" for number, name in enumerate(names)})
    for key, default in described.items():
        if default == "(required)":
            continue
        place = key
        for shown, real in places.items():
            place = place.replace(shown, real)
        assert load(tmp_path, EVERYTHING, f"{place}={default}") == whole, key


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_misspelt_key_is_found_at_its_line(data: st.DataObject) -> None:
    text = (ROOT / "recipes" / "quickstart.yaml").read_text(encoding="utf-8")
    keys = [node for node in _key_nodes(yaml.compose(text)) if len(node.value) > 1]
    assert len(keys) > 30
    key = data.draw(st.sampled_from(keys))
    at = data.draw(st.integers(0, len(key.value) - 1))
    letter = data.draw(st.sampled_from(["", *"aeqz_"]))
    wrong = key.value[:at] + letter + key.value[at + data.draw(st.integers(0, 1)) :]
    assume(wrong not in {other.value for other in keys})
    start = key.start_mark.index
    broken = text[:start] + wrong + text[start + len(key.value) :]
    with tempfile.TemporaryDirectory() as folder:
        message = refusal(Path(folder), broken)
        line = key.start_mark.line + 1
        assert message.startswith(f"{Path(folder) / 'mine.yaml'}:{line}:")
        assert wrong in message or key.value == "type"


def _key_nodes(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield from _key_nodes(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _key_nodes(value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (["model.quantization=nf4", "sft.tuning=full"], "cannot train 4-bit weights"),
        (["dpo.loss=ipo", "dpo.label_smoothing=0.1"], "label_smoothing is not defined for loss: ipo"),
        (["dpo.loss=dpoo"], "'dpo', 'dpo_norm', 'ipo', 'simpo', 'orpo', 'cpo' or 'ranking'"),
        (["sft.sampling.kind=unimaxx"], "'natural', 'temperature' or 'unimax'"),
        (["sft.gradient_accumulation=2"], "unknown key `sft.gradient_accumulation`"),
    ],
)
def test_training_settings_that_contradict_are_refused(tmp_path: Path, override: list[str], says: str) -> None:
    assert says in refusal(tmp_path, "seed: 1\n", *override)


def test_losses_carry_what_they_need() -> None:
    needs = {loss.value for loss in PreferenceLoss if loss.needs_reference}
    assert needs == {"dpo", "dpo_norm", "ipo", "ranking"}
    assert {loss.value for loss in PreferenceLoss if loss.length_normalised} == {"dpo_norm", "ipo", "simpo", "orpo"}


def test_presets_keep_the_papers_figures_and_the_bounds_that_it_lacked() -> None:
    for name in ("xllama-100", "xbloom-100"):
        preset = load_recipe(ROOT / "recipes" / f"{name}.yaml")
        assert (preset.sft.lora.r, preset.sft.lora.alpha, preset.sft.learning_rate) == (8, 16, 1e-4)
        assert preset.sft.batch_size == preset.dpo.batch_size == 256
        assert preset.dpo.learning_rate <= 5e-4 / 50


def test_an_address_with_a_key_in_it_is_refused(tmp_path: Path) -> None:
    for address in ("https://bob:hunter2@example.org/v1", "https://example.org/v1?key=hunter2"):
        message = refusal(tmp_path, f"engines:\n  a: {{type: openai, model: m, base_url: '{address}'}}\n")
        assert "put the key into key_env" in message


def test_an_engine_and_a_translator_do_not_share_a_name(tmp_path: Path) -> None:
    text = "engines:\n  a: {type: openai, model: m}\ntranslators:\n  a: {type: chat, engine: a}\n"
    assert "an engine has this name" in refusal(tmp_path, text)
