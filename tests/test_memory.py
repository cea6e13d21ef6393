import gc
import resource
import sys
import weakref
from pathlib import Path

import pytest
import torch

from xllms.memory import release_memory


class Ring:
    def __init__(self) -> None:
        self.own = self


def test_what_holds_itself_is_collected() -> None:
    gc.disable()
    try:
        ring = Ring()
        seen = weakref.ref(ring)
        del ring
        assert seen() is not None
        release_memory()
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and needs glibc's heap")
def test_freed_tensors_between_living_ones_go_back_to_the_system() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    tensors = [torch.ones(16_000) for _ in range(4_000)]  # 64 kB each, 256 MB: below malloc's mmap threshold
    kept = tensors[::100]
    del tensors
    before = resident()
    release_memory()
    assert before - resident() > 150e6
    assert all(float(tensor.sum()) == 16_000 for tensor in kept)
