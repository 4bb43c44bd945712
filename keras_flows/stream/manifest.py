"""What a folder of scores says about itself: `_manifest.json`.

Its name begins with an underscore, as that of its parts do not: pandas, Arrow and Spark then read
the folder as one table.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pydantic

from keras_flows import __version__
from keras_flows.errors import StreamError
from keras_flows.files import complete_file, read_json
from keras_flows.stream.fingerprint import Fingerprint

FILE = "_manifest.json"
# The format of such a folder; raised when a change would make older versions misread one.
FORMAT = 1


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Scored(_Strict):
    """What scores the rows: a preset or an export, and the SHA-256 of what lists its checksums."""

    name: str
    runtime: str
    sha256: str


class Part(_Strict):
    """One file of scores, complete.

    Attributes:
        name: Of the file.
        first_row: Which row of the input its first is, from 0 on.
        rows: How many it has.
        bytes: Its size.
        sha256: Its checksum.
        counts: How many of its rows are `out_of_range`, and of decisions how many are `flagged`.
    """

    name: str
    first_row: int
    rows: int
    bytes: int
    sha256: str
    counts: dict[str, int]


class Manifest(_Strict):
    """The contents of `_manifest.json`.

    Attributes:
        format: Of the folder.
        task: `"score"`, `"detect"` or `"encode"`.
        input: Which data they are of.
        context: Which contexts, where these are in a file of their own.
        scored_by: What scores them.
        likelihood: What kind of number the log_prob is.
        seed: Of the numbers that a random log_prob draws, each row its own.
        options: What else the numbers depend on, such as the columns that were chosen.
        columns: The columns of every part, with their types, and the shape of one row's value
            where that is no number.
        batch: How many rows were computed at a time.
        part_rows: How many rows every part but the last has.
        rows: How many rows there are in all; None as long as that is not known.
        complete: Whether all parts are there.
        discoveries: Of decisions at a false-discovery rate, once complete: `fdr`, the number of
            `discoveries`, and `p_value`, the largest of them.
        parts: The parts that are there, in order.
        versions: Of keras-flows.
    """

    format: int = FORMAT
    task: str
    input: Fingerprint
    context: Fingerprint | None = None
    scored_by: Scored
    likelihood: str
    seed: int
    options: dict[str, Any]
    columns: dict[str, str]
    batch: int
    part_rows: int
    rows: int | None = None
    complete: bool = False
    discoveries: dict[str, float] | None = None
    parts: list[Part] = []
    versions: dict[str, str] = {"keras_flows": __version__}

    @property
    def run(self) -> str:
        """What tells the parts of this run from those of any other, 64 hexadecimal digits."""
        told = {
            name: value
            for name, value in self.model_dump().items()
            if name not in ("rows", "complete", "discoveries", "parts", "versions")
        }
        for name in ("input", "context", "scored_by"):  # wherever they are, they are the same
            told[name] = told[name] and told[name]["sha256"]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def first_row(self, number: int) -> int:
        """The first row of a part."""
        return number * self.part_rows

    def count(self, what: str) -> int:
        """How many rows of all parts are `"rows"`, `"out_of_range"` or `"flagged"`."""
        if what == "rows":
            return sum(part.rows for part in self.parts)
        return sum(part.counts.get(what, 0) for part in self.parts)


def name_of(number: int) -> str:
    """The name of a part."""
    return f"part-{number:05d}.parquet"


def read_manifest(folder: str | Path) -> Manifest:
    """Reads the manifest of a folder of scores.

    Raises:
        StreamError: If it is missing, damaged, or of a newer format.
    """
    return read_json(Path(folder) / FILE, Manifest, FORMAT, "scores", StreamError)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes it, complete or not at all."""
    with complete_file(folder / FILE) as partial:
        partial.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


# What a run that goes on must have in common with the one that began, and how to say so.
_SAME = {
    "task": "of the task",
    "seed": "of the seed",
    "options": "with the options",
    "part_rows": "in parts of so many rows:",
    "batch": "computed with so many rows at a time:",
    "columns": "of the columns",
}


def check_same(folder: Path, there: Manifest, wanted: Manifest) -> None:
    """Checks that a run is the one that a folder is of.

    Raises:
        StreamError: If it is another; the message says in what.
    """
    advice = "Choose another folder, or remove this one."
    for name, title in (("input", "input"), ("context", "context")):
        old, new = getattr(there, name), getattr(wanted, name)
        if (old and old.sha256) != (new and new.sha256):
            raise StreamError(
                f"{folder} is of another {title}: {_described(old)}; this is {_described(new)}. "
                f"{advice}"
            )
    if there.scored_by.sha256 != wanted.scored_by.sha256:
        raise StreamError(
            f"{folder} is by another flow: {there.scored_by.name} ({there.scored_by.runtime}, "
            f"{there.scored_by.sha256[:12]}…); this is {wanted.scored_by.name} "
            f"({wanted.scored_by.runtime}, {wanted.scored_by.sha256[:12]}…). {advice}"
        )
    for name, words in _SAME.items():
        old, new = getattr(there, name), getattr(wanted, name)
        if old != new:
            raise StreamError(f"{folder} is {words} {old}; this run has {new}. {advice}")


def _described(data):
    return "none" if data is None else f"{data.name} (SHA-256 {data.sha256[:12]}…)"
