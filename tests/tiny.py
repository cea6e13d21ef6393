"""Tiny random models of the architectures that xllms supports, made on the spot."""

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 131
WINDOW = 5
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def tiny_model(architecture: str, seed: int = 0) -> PreTrainedModel:
    """A random model in float32 with weights large enough that every token matters."""
    torch.manual_seed(seed)
    model: PreTrainedModel
    if architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(**_SIZES, tie_word_embeddings=False))
    elif architecture == "qwen":
        model = Qwen3ForCausalLM(Qwen3Config(**_SIZES, tie_word_embeddings=True))
    elif architecture == "gemma3":
        layers = ["sliding_attention", "full_attention", "sliding_attention"]
        model = Gemma3ForCausalLM(Gemma3TextConfig(**_SIZES, sliding_window=WINDOW, layer_types=layers))
    elif architecture == "gemma2":
        model = Gemma2ForCausalLM(Gemma2Config(**_SIZES, sliding_window=WINDOW))
    elif architecture == "bloom":
        config = BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4)
        model = BloomForCausalLM(config)
    elif architecture == "gpt-oss":  # attention sinks: refused by tries
        model = GptOssForCausalLM(GptOssConfig(**_SIZES, num_local_experts=2, num_experts_per_tok=1))
    else:
        raise ValueError(architecture)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.15)
    return model.eval()


def with_lora(model: PreTrainedModel) -> nn.Module:
    """LoRA on every linear layer of the decoder, with B not zero, so that every gradient is alive."""
    peft_model = get_peft_model(
        model, LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in peft_model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.1)
    return peft_model.eval()


def save_tiny_model(folder: Path) -> Path:
    """A tiny Llama and a byte-level BPE tokenizer trained on the spot, saved as `from_pretrained` reads them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(["Below is an instruction. Write a response. What is it called?"] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")
    torch.manual_seed(5)
    model = LlamaForCausalLM(LlamaConfig(**{**_SIZES, "vocab_size": len(fast), "max_position_embeddings": 1024}))
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
