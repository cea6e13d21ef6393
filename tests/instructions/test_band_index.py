"""The index of bands against a search through everything, and what it holds; texts that are kept on the disk."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xllms.instructions import band_index
from xllms.instructions.band_index import BandIndex, neighbours
from xllms.instructions.kept_texts import KeptTexts, Text

BANDS, ROWS, MOST = 4, 2, 5


def sketches(draw: random.Random, count: int, values: int) -> np.ndarray:
    """Few values, so that many bands are alike."""
    drawn = [[draw.randrange(values) for _ in range(BANDS * ROWS)] for _ in range(count)]
    return np.array(drawn, dtype=np.uint32).reshape(count, BANDS * ROWS)


def share(one: np.ndarray, other: np.ndarray) -> bool:
    return any((a == b).all() for a, b in zip(one.reshape(BANDS, ROWS), other.reshape(BANDS, ROWS), strict=True))


@pytest.mark.parametrize("longest", [band_index.LONGEST_RUN, 40])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0), sizes=st.lists(st.integers(0, 25), max_size=12), values=st.integers(2, 12))
def test_it_finds_what_a_search_through_everything_finds(
    longest: int, seed: int, sizes: list[int], values: int
) -> None:
    draw = random.Random(seed)
    index = BandIndex(BANDS, MOST)
    accepted: list[np.ndarray] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band_index, "LONGEST_RUN", longest)
        for size in sizes:
            batch = sketches(draw, size, values)
            keys = index.keys(batch)
            for one, found in zip(batch, index.find(keys), strict=True):
                expected = [number for number, other in enumerate(accepted) if share(one, other)]
                assert found.tolist()[:MOST] == expected[:MOST]
                assert set(found.tolist()) <= set(expected)
            beside = neighbours(keys)
            assert beside == [[at for at in range(me) if share(batch[me], batch[at])] for me in range(size)]
            taken = [at for at in range(size) if draw.random() < 0.7]
            index.add(keys[taken], range(len(accepted), len(accepted) + len(taken)))
            accepted += [batch[at] for at in taken]
    assert index.nbytes == 8 * BANDS * len(accepted)


def test_a_record_takes_8_bytes_a_band() -> None:
    index = BandIndex(32, 200)
    draw = np.random.default_rng(0)
    for start in range(0, 20_000, 2_000):
        made = draw.integers(0, 2**32, (2_000, 256), dtype=np.uint32)
        keys = index.keys(made)
        assert not any(map(len, index.find(keys)))
        index.add(keys, range(start, start + 2_000))
    assert [found.tolist() for found in index.find(keys[5:6])] == [[18_005]]
    assert index.nbytes == 20_000 * 256


def test_texts_come_back_as_they_were() -> None:
    kept = KeptTexts()
    texts = [Text(f"größe:{n}" * n or "-", bytes([n] * 16), b"12345678" * (n % 7)) for n in range(100)]
    for number, text in enumerate(texts):
        assert kept.same(text.digest) is None
        assert kept.add(text) == number
        assert kept.read(number // 2) == texts[number // 2]
    assert [kept.read(number) for number in range(100)] == texts
    assert [kept.same(text.digest) for text in texts] == texts
