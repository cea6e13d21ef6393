"""Where adapters go is read from each architecture; a name that matches nothing is never passed over."""

from pathlib import Path

import pytest

from tests.small_tokenizers import small_tokenizer
from tests.tiny import tiny_model
from xllms.errors import InputError
from xllms.models.loading import load_adapter
from xllms.prompting import PromptTemplate
from xllms.recipe import LoraSettings
from xllms.training.adapters import add_lora, lora_targets, save_tuned

LLAMA_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
LLAMA_MLP = {"gate_proj", "up_proj", "down_proj"}
BLOOM_MLP = {"dense_h_to_4h", "dense_4h_to_h"}
# architecture -> (layers, names in attention, names elsewhere)
ARCHITECTURES = {
    "llama": (3, LLAMA_ATTENTION, LLAMA_MLP),
    "qwen": (3, LLAMA_ATTENTION, LLAMA_MLP),
    "gemma3": (3, LLAMA_ATTENTION, LLAMA_MLP),
    "bloom": (2, {"query_key_value", "dense"}, BLOOM_MLP),
}


def ends(names: list[str]) -> set[str]:
    return {name.rpartition(".")[2] for name in names}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_targets_are_found_in_the_architecture(architecture: str) -> None:
    layers, attention, elsewhere = ARCHITECTURES[architecture]
    model = tiny_model(architecture)
    everything, in_attention = lora_targets(model, "all-linear"), lora_targets(model, "attention")
    assert ends(everything) == attention | elsewhere
    assert len(everything) == layers * len(attention | elsewhere)
    assert ends(in_attention) == attention
    assert len(in_attention) == layers * len(attention)
    assert all(".layers." in f".{name}" or ".h." in f".{name}" for name in everything)
    assert lora_targets(model, sorted(attention)) == in_attention


@pytest.mark.parametrize("wanted", ["all-linear", "attention"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_the_adapter_is_trained_and_never_the_head(architecture: str, wanted: str) -> None:
    layers, attention, elsewhere = ARCHITECTURES[architecture]
    model = tiny_model(architecture)
    adapted = add_lora(model, LoraSettings.model_validate({"r": 2, "targets": wanted}))
    trained = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    modules = attention | elsewhere if wanted == "all-linear" else attention
    assert len(trained) == 2 * layers * len(modules)
    assert all("lora_" in name and "lm_head" not in name for name in trained)
    assert type(model.get_output_embeddings()).__name__ == "Linear"


def test_targets_by_name_may_be_ends_or_whole_names() -> None:
    model = tiny_model("llama")
    assert len(lora_targets(model, ["q_proj", "mlp.up_proj"])) == 6
    assert lora_targets(model, ["model.layers.1.self_attn.q_proj"]) == ["model.layers.1.self_attn.q_proj"]
    one = add_lora(model, LoraSettings(targets=("layers.1.self_attn.q_proj",)))
    trained = [name for name, parameter in one.named_parameters() if parameter.requires_grad]
    assert len(trained) == 2
    assert all(".layers.1.self_attn.q_proj." in name for name in trained)


@pytest.mark.parametrize(
    "wanted", [["query_key_value"], ["q_proj", "query_key_value"], ["proj"], ["lm_head", "q_proj", "query_key_value"]]
)
def test_a_name_that_matches_nothing_is_an_error_that_prints_the_names(wanted: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        lora_targets(tiny_model("llama"), wanted)
    message = str(caught.value)
    assert wanted[-1] in message.partition("matches")[0]
    assert "LlamaForCausalLM" in message
    assert message.endswith("it has: down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj")
    assert "q_proj" not in message.partition("matches")[0]


def test_a_saved_adapter_comes_back_whole(tmp_path: Path) -> None:
    import torch

    model = add_lora(tiny_model("llama"), LoraSettings(r=2))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    folder = tmp_path / "sft" / "adapter"
    folder.mkdir(parents=True)
    (folder / "stale").write_text("of an earlier run")
    files = save_tuned(model, PromptTemplate(small_tokenizer(), "alpaca"), folder.parent)
    assert all(path.exists() for path in files)
    assert {path.name for path in folder.parent.iterdir()} == {"adapter"}
    assert not (folder / "stale").exists()
    again = load_adapter(tiny_model("llama"), folder)
    ids = torch.tensor([[1, 5, 6, 7]])
    assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)
    assert not torch.equal(again(input_ids=ids).logits, tiny_model("llama")(input_ids=ids).logits)


def test_a_folder_without_adapter_or_with_another_models_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no adapter here.*run `xllms sft RECIPE` first"):
        load_adapter(tiny_model("llama"), tmp_path)
    folder = tmp_path / "adapter"
    save_tuned(add_lora(tiny_model("llama"), LoraSettings(r=2)), PromptTemplate(small_tokenizer(), "alpaca"), tmp_path)
    with pytest.raises(InputError, match="the adapter is damaged or does not fit this model") as caught:
        load_adapter(tiny_model("bloom"), folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
