"""Texts that later ones are compared with, on the disk; in memory one is 30 to 51 bytes.

What is read of them again is little: those that have the digest or a band of a later one.
"""

from array import array
from os import SEEK_END
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from xllms.instructions.compact_map import CompactMap

_DIGEST, _LENGTH = 16, 4  # bytes before the id


class Text(NamedTuple):
    """What is compared of a record: 16 bytes of digest of the whole text, and its sorted shingles of 8 bytes each."""

    id: str
    digest: bytes
    shingles: bytes


class KeptTexts:
    """Numbered by the order in which they were added; the temporary file goes when nobody holds this any more.

    Args:
        folder: of the temporary file; None: the system's, which may be in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as this
        self._starts = array("Q", [0])
        self._by_digest = CompactMap(8)

    def add(self, text: Text) -> int:
        """Keep a text; its number."""
        number = len(self._starts) - 1
        name = text.id.encode("utf-8", "surrogatepass")
        size = self._file.write(b"".join((text.digest, len(name).to_bytes(_LENGTH), name, text.shingles)))
        self._starts.append(self._starts[-1] + size)
        self._by_digest.set(text.digest, number)
        return number

    def read(self, number: int) -> Text:
        """The text of that number."""
        begin, end = self._starts[number], self._starts[number + 1]
        self._file.seek(begin)
        data = self._file.read(end - begin)
        self._file.seek(0, SEEK_END)
        name = _DIGEST + _LENGTH
        stop = name + int.from_bytes(data[_DIGEST:name])
        return Text(data[name:stop].decode("utf-8", "surrogatepass"), data[:_DIGEST], data[stop:])

    def same(self, digest: bytes) -> Text | None:
        """The text that has this digest, if there is one."""
        number = self._by_digest.get(digest)
        if number is None:
            return None
        found = self.read(number)
        return found if found.digest == digest else None
