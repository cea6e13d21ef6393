"""The index of near repeats: which earlier records have a band of their MinHash in common with this one.

A band of a sketch and the number of its record are one 64-bit integer, and integers are kept in sorted runs that are
merged as they grow: 8 bytes a band, 256 a record at a threshold of 0.8, where hash tables take 3 kB. Look-ups and
merges are done for a batch at a time, in numpy. That two bands look alike by accident (38 bits) costs a comparison.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xllms.errors import InputError

Keys = NDArray[np.uint64]

NUMBER_BITS = 26  # 67 million records of a language
LONGEST_RUN = 1 << 23  # 64 MB, that a merge takes twice more of for a moment
_SHIFT, _NUMBERS = np.uint64(NUMBER_BITS), np.uint64((1 << NUMBER_BITS) - 1)
_NONE = np.empty(0, dtype=np.int64)


class BandIndex:
    """Bands of accepted records.

    Args:
        bands: of a sketch.
        most: earlier records that anybody wants to know of.
    """

    def __init__(self, bands: int, most: int) -> None:
        self.bands, self.most = bands, most
        self._runs: list[Keys] = []

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(run.nbytes for run in self._runs)

    def keys(self, sketches: NDArray[np.uint32]) -> Keys:
        """(records, bands) what each band of some sketches, (records, permutations), is known by."""
        rows = sketches.reshape(len(sketches), self.bands, sketches.shape[1] // self.bands).astype(np.uint64)
        mixed = np.arange(1, self.bands + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = np.broadcast_to(mixed, rows.shape[:2])
        for at in range(rows.shape[2]):
            mixed = (mixed ^ rows[:, :, at]) * np.uint64(0xFF51AFD7ED558CCD)
            mixed = mixed ^ (mixed >> np.uint64(32))
        return np.asarray(mixed >> _SHIFT << _SHIFT)

    def find(self, keys: Keys) -> list[NDArray[np.int64]]:
        """Numbers of accepted records that share a band with each of some, at least the first `most` of them."""
        order = np.argsort(keys, axis=None, kind="stable")
        wanted = keys.reshape(-1)[order]
        owners = order // self.bands
        found: list[list[NDArray[np.int64]]] = [[] for _ in keys]
        for run in self._runs:
            begin = np.searchsorted(run, wanted)
            hit = np.flatnonzero(run[np.minimum(begin, len(run) - 1)] - wanted <= _NUMBERS)
            end = np.searchsorted(run, wanted[hit] | _NUMBERS, side="right")
            for owner, first, last in zip(owners[hit].tolist(), begin[hit].tolist(), end.tolist(), strict=True):
                numbers = run[first : min(last, first + self.most)] & _NUMBERS
                found[owner].append(numbers.astype(np.int64))
        return [np.unique(np.concatenate(parts)) if parts else _NONE for parts in found]

    def add(self, keys: Keys, numbers: Sequence[int]) -> None:
        """Accept records, (records, bands), under rising numbers.

        Raises:
            InputError: more than `NUMBER_BITS` can number.
        """
        if len(numbers) and numbers[-1] >> NUMBER_BITS:
            raise InputError(
                f"duplicates: more than {1 << NUMBER_BITS:,} records of a language; give it in parts, or set "
                "duplicates: null"
            )
        # A quarter of all at most is merged anew, so that of many records there are few runs to look into.
        longest = max(LONGEST_RUN, sum(map(len, self._runs)) // 4)
        run = np.sort((keys | np.array(numbers, dtype=np.uint64)[:, None]).reshape(-1))
        while self._runs and len(self._runs[-1]) <= 2 * len(run) and len(self._runs[-1]) + len(run) <= longest:
            run = np.concatenate((self._runs.pop(), run))
            run.sort(kind="stable")
        if len(run):
            self._runs.append(run)


def neighbours(keys: Keys) -> list[list[int]]:
    """For each of some records, (records, bands), the earlier ones among them that share a band with it."""
    count, bands = keys.shape
    order = np.argsort(keys, axis=None, kind="stable")
    same = np.flatnonzero(np.diff(keys.reshape(-1)[order]) == 0)
    found: list[set[int]] = [set() for _ in range(count)]
    for group in np.split(same, np.flatnonzero(np.diff(same) != 1) + 1) if len(same) else ():
        members = sorted(set((order[group[0] : group[-1] + 2] // bands).tolist()))
        for at, member in enumerate(members):
            found[member].update(members[:at])
    return [sorted(one) for one in found]
