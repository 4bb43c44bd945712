"""Which data a run is of: checksums of its files, and whether they are still the same."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydantic

from keras_flows.files import sha256


class Fingerprint(pydantic.BaseModel):
    """What tells data from other data.

    Attributes:
        name: That of the file or folder, for people.
        files: How many files they are in; 0 for data in memory.
        bytes: Of all files together, or of the array.
        sha256: Of the file; of several, that of a list of their names and checksums.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    name: str
    files: int
    bytes: int
    sha256: str


def state_of(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Names, sizes and times of files: while they are the same, nobody wrote into them."""
    stats = [(path.name, path.stat()) for path in files]
    return [(name, found.st_size, found.st_mtime_ns) for name, found in stats]


class Watched:
    """Files that must not change while they are read.

    Args:
        name: What they are called, for people.
        files: The files, in the order of their rows.
        base: The folder that their names are relative to; None for a single file.

    Attributes:
        fingerprint: Their `Fingerprint`.
    """

    def __init__(self, name: str, files: Sequence[Path], base: Path | None = None):
        self._name, self._files, self._base = name, list(files), base
        self._state = state_of(self._files)
        self.fingerprint = self._read()
        self.check()

    def _read(self):
        size = sum(path.stat().st_size for path in self._files)
        if self._base is None:
            (path,) = self._files
            digest = sha256(path)
        else:
            names = [path.relative_to(self._base).as_posix() for path in self._files]
            listed = [
                f"{sha256(path)}  {name}\n" for path, name in zip(self._files, names, strict=True)
            ]
            digest = hashlib.sha256("".join(listed).encode()).hexdigest()
        return Fingerprint(name=self._name, files=len(self._files), bytes=size, sha256=digest)

    def check(self) -> None:
        """Checks that the files are what they were.

        Raises:
            ValueError: If they are not: what was read of them since may be of either.
        """
        try:
            now = state_of(self._files)
            if now == self._state:
                return
            same = self._read() == self.fingerprint
        except FileNotFoundError as error:
            raise ValueError(
                f"{self._name} changed while it was read: {error.filename} is gone. The parts that "
                "are complete are of the data as they were; start again, in another folder."
            ) from error
        if not same:
            raise ValueError(
                f"{self._name} changed while it was read. The parts that are complete are of the "
                "data as they were; start again, in another folder."
            )
        self._state = now


def of_array(name: str, x: np.ndarray) -> Fingerprint:
    """The fingerprint of data in memory.

    Args:
        name: What they are called.
        x: The data, an array.
    """
    x = np.ascontiguousarray(x)
    digest = hashlib.sha256(f"{x.dtype.str} {x.shape}\n".encode())
    digest.update(x.data)
    return Fingerprint(name=name, files=0, bytes=x.nbytes, sha256=digest.hexdigest())


def of_text(name: str, content: bytes) -> Fingerprint:
    """The fingerprint of a text that came by standard input."""
    digest = hashlib.sha256(content).hexdigest()
    return Fingerprint(name=name, files=0, bytes=len(content), sha256=digest)
