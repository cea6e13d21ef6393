"""What makes a local model the same one: its files, not what other tools keep beside them. And how it is made."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from xllms.engines.factory import local_content, make_engine
from xllms.engines.local import LocalEngine
from xllms.packing.logprobs import base_model
from xllms.recipe import LocalEngineSettings


def test_what_is_hidden_beside_a_model_does_not_make_it_another(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "model"  # a hidden folder around the model hides nothing
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    settings = LocalEngineSettings(name=str(folder))
    before = local_content(settings)
    for name in (".git/index", ".cache/huggingface/download/model.lock", ".DS_Store", "sub/.git/HEAD"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("of another tool", encoding="utf-8")
    assert local_content(settings) == before
    (folder / "sub" / "adapter.bin").write_bytes(b"more")
    more = local_content(settings)
    assert more != before
    (folder / "model.safetensors").write_bytes(b"others")
    assert local_content(settings) != more


def test_the_memory_of_a_local_engines_batches_can_be_bounded(tiny_model_folder: Path) -> None:
    given = {"name": str(tiny_model_folder), "dtype": "float32", "device": "cpu"}
    rows: list[int] = []
    answers = []
    for settings in (given, {**given, "memory": 1e-4}):
        engine = make_engine(LocalEngineSettings.model_validate(settings))
        assert isinstance(engine, LocalEngine)
        head = base_model(engine.loaded.model).get_output_embeddings()
        seen: list[int] = []
        hook = head.register_forward_hook(lambda module, args, output, seen=seen: seen.append(len(args[0])))
        answers.append([one.text for one in engine.write([(f"Sema {n}", "") for n in range(12)], 8)])
        hook.remove()
        rows.append(max(seen))
    assert answers[0] == answers[1]
    assert rows[0] == 12
    assert 1 <= rows[1] < 12
    with pytest.raises(ValidationError, match="memory"):
        LocalEngineSettings.model_validate({**given, "memory": 0})
