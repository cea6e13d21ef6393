"""Small real tokenizers, trained on the spot: byte-level BPE with the habits that published ones have."""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

BOS, EOS, TURN, END = "<s>", "</s>", "<turn>", "<end>"
CHAT = (
    "{{ bos_token }}{% for message in messages %}<turn>{{ message['role'] }}\n{{ message['content'] | trim }}<end>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)


def small_tokenizer(*, adds_bos: bool = False, chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that knows a few English words and the bytes of everything else."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    specials = [AddedToken(text, special=True) for text in (BOS, EOS, TURN, END)]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(Path(__file__).with_name("tiny.py").read_text(encoding="utf-8").splitlines(), trainer)
    if adds_bos:
        inner.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=BOS, eos_token=EOS)
    tokenizer.chat_template = chat_template
    return tokenizer
