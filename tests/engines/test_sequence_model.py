"""Tiny encoder-decoders, trained here to say a dozen words in another language: both backends, both families."""

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    NllbTokenizer,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

from xllms.engines.protocol import EngineError
from xllms.engines.sequence_model import SequenceModelTranslator, converted
from xllms.errors import InputError
from xllms.languages import Language, get
from xllms.recipe.engines import SequenceModelSettings

ENGLISH, GERMAN, CHINESE = get("English"), get("German"), get("Chinese (Simplified)")
ENGLISH_WORDS = ["One", "Two", "Three", "Four", "Red", "House", ".", "!"]
WORDS = {
    GERMAN: dict(zip(ENGLISH_WORDS, ["Eins", "Zwei", "Drei", "Vier", "Rot", "Haus", ".", "!"], strict=True)),
    CHINESE: dict(zip(ENGLISH_WORDS, ["一", "二", "三", "四", "红", "屋", "。", "！"], strict=True)),
}
NLLB_CODES = ["eng_Latn", "deu_Latn", "zho_Hans"]
MADLAD_TOKENS = ["<2en>", "<2de>", "<2zh>"]


def sentences(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return [f"{draw.choice(ENGLISH_WORDS[:6])} {draw.choice('.!')}" for _ in range(count)]


def said(sentence: str, language: Language) -> str:
    return " ".join(WORDS[language][word] for word in sentence.split())


def all_words() -> list[str]:
    return sorted({word for table in WORDS.values() for pair in table.items() for word in pair})


def nllb_tokenizer() -> Any:
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False)
    inner.train_from_iterator(all_words(), trainer)
    state = json.loads(inner.to_str())["model"]
    merges = [tuple(merge) for merge in state["merges"]]
    return NllbTokenizer(vocab=state["vocab"], merges=merges, extra_special_tokens=NLLB_CODES)


def madlad_tokenizer() -> Any:
    vocabulary = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -9.0),
        *((token, 0.0) for token in MADLAD_TOKENS),
    ]
    vocabulary += [(f"▁{word}", -2.0) for word in all_words()]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0)


def small_model(kind: str, size: int) -> PreTrainedModel:
    torch.manual_seed(0)
    if kind == "nllb":
        sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
        return M2M100ForConditionalGeneration(
            M2M100Config(
                vocab_size=size, d_model=32, encoder_ffn_dim=64, decoder_ffn_dim=64, dropout=0.0, scale_embedding=True,
                encoder_layerdrop=0.0, decoder_layerdrop=0.0, max_position_embeddings=64, init_std=0.1, **sizes,
            )
        )  # fmt: skip
    config = T5Config(
        vocab_size=size, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, dropout_rate=0.0,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
    )  # fmt: skip
    return T5ForConditionalGeneration(config)


def batch(kind: str, tokenizer: Any, target: Language, texts: list[str]) -> dict[str, torch.Tensor]:
    translations = [said(text, target) for text in texts]
    if kind == "nllb":
        tokenizer.src_lang, tokenizer.tgt_lang = "eng_Latn", target.nllb
        read = tokenizer(texts, text_target=translations, padding=True, return_tensors="pt")
    else:
        mark = "<2de>" if target == GERMAN else "<2zh>"
        read = tokenizer([f"{mark} {text}" for text in texts], padding=True, return_tensors="pt")
        read["labels"] = tokenizer(translations, padding=True, return_tensors="pt")["input_ids"]
    labels = read["labels"].masked_fill(read["labels"] == tokenizer.pad_token_id, -100)
    return {**read, "labels": labels}


@pytest.fixture(scope="module", params=["nllb", "madlad"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A checkpoint that has learnt to translate sentences of one word, as transformers saves it."""
    kind = request.param
    tokenizer = nllb_tokenizer() if kind == "nllb" else madlad_tokenizer()
    model = small_model(kind, len(tokenizer))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    enough = 0.25 if kind == "nllb" else 0.08  # NLLB's first token, the language, can only be guessed: ln 2 of 4 tokens
    losses = [9.9]
    while max(losses[-10:]) > enough and len(losses) < 600:
        step = len(losses)
        loss = model(**batch(kind, tokenizer, [GERMAN, CHINESE][step % 2], sentences(step, 16))).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    folder = tmp_path_factory.mktemp(kind) / "model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return kind, folder


@pytest.fixture(autouse=True)
def own_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XLLMS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def translator(checkpoint: tuple[str, Path], **more: Any) -> SequenceModelTranslator:
    kind, folder = checkpoint
    return SequenceModelTranslator(SequenceModelSettings(type=kind, name=str(folder), device="cpu", **more))


@pytest.mark.parametrize("backend", ["ctranslate2", "transformers"])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_texts_are_translated_sentence_by_sentence(checkpoint: tuple[str, Path], backend: str, beam_size: int) -> None:
    writer = translator(checkpoint, backend=backend, beam_size=beam_size, batch_size=3)
    texts = [" One . House ! Red !\n\nThree .\n", "", "12 + 3 = 15\nFour .", "House !", " \n"]
    german = [" Eins . Haus ! Rot !\n\nDrei .\n", "", "12 + 3 = 15\nVier .", "Haus !", " \n"]
    assert writer.translate(texts, ENGLISH, GERMAN) == german
    assert writer.translate(["Two . House !"], ENGLISH, CHINESE) == ["二 。屋 ！"]
    assert writer.usage.requests == len(texts) + 1
    assert writer.usage.output_tokens == 2 * (5 + 2)  # seven sentences, the house only once in German


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_both_backends_write_the_same_tokens(checkpoint: tuple[str, Path], data: st.DataObject) -> None:
    """Nonsense, so that outputs are long, doubtful, and often cut off at the limit."""
    one, other = both_backends(checkpoint)
    ids = st.lists(st.integers(4, len(one._tokenizer) - 1), min_size=1, max_size=12)
    sources = [[*source, one._tokenizer.eos_token_id] for source in data.draw(st.lists(ids, min_size=1, max_size=5))]
    first = one._tokenizer.convert_tokens_to_ids("deu_Latn") if checkpoint[0] == "nllb" else None
    assert one._backend.generate(sources, first) == other._backend.generate(sources, first)


@cache
def both_backends(checkpoint: tuple[str, Path]) -> tuple[SequenceModelTranslator, SequenceModelTranslator]:
    same = {"beam_size": 1, "batch_size": 2, "max_new_tokens": 12, "compute_type": "float32"}
    return translator(checkpoint, backend="ctranslate2", **same), translator(checkpoint, backend="transformers", **same)


@pytest.mark.parametrize("backend", ["ctranslate2", "transformers"])
def test_what_was_cut_off_is_no_translation(checkpoint: tuple[str, Path], backend: str) -> None:
    writer = translator(checkpoint, backend=backend, beam_size=1, max_new_tokens=1)
    assert writer.translate(["One . Two .", "1 + 1"], ENGLISH, GERMAN) == ["", "1 + 1"]


def test_a_checkpoint_is_converted_once(checkpoint: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    ours = translator(checkpoint, compute_type="int8").settings
    folder = converted(ours)
    assert "converting once" in capsys.readouterr().err
    assert converted(ours) == folder and capsys.readouterr().err == ""
    assert not list(folder.parent.glob(".part-*"))
    assert converted(translator(checkpoint, compute_type="float32").settings) != folder
    assert translator(checkpoint, compute_type="int8").translate(["One ."], ENGLISH, GERMAN) == ["Eins ."]


def test_it_has_the_languages_that_the_tokenizer_knows(checkpoint: tuple[str, Path]) -> None:
    writer = translator(checkpoint)
    assert writer.supports(ENGLISH, CHINESE) and writer.supports(GERMAN, ENGLISH)
    for stranger in ("Swahili", "Chinese (Traditional)", "N'Ko", "English"):
        assert not writer.supports(ENGLISH, get(stranger))
    with pytest.raises(EngineError, match="does not translate from English to Swahili"):
        writer.translate(["One ."], ENGLISH, get("Swahili"))


def test_no_checkpoint_and_what_cannot_be_run_are_named(checkpoint: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        translator((checkpoint[0], tmp_path / "none")).supports(ENGLISH, GERMAN)
    with pytest.raises(InputError, match="CTranslate2 cannot"):
        translator(checkpoint, compute_type="int3").translate(["One ."], ENGLISH, GERMAN)


def test_a_model_that_only_continues_text_is_refused(tiny_model_folder: Path) -> None:
    writer = translator(("madlad", tiny_model_folder), backend="transformers")
    with pytest.raises(EngineError, match="does not translate from English to German"):
        writer.translate(["One ."], ENGLISH, GERMAN)
