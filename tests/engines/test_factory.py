"""What makes a local model the same one: its files, not what other tools keep beside them."""

from pathlib import Path

from xllms.engines.factory import local_content
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
