"""The parts of a run: Parquet files that are complete or not there, and who wrote them."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from keras_flows.errors import StreamError
from keras_flows.files import check_place, complete_file, sha256
from keras_flows.stream import manifest as manifests
from keras_flows.stream.manifest import Manifest, Part, name_of

# In the metadata of a part: of which run it is, and which of its rows.
_KEY = b"keras_flows"


def begin(
    folder: str | Path,
    wanted: Manifest,
    resume: bool = False,
    note: Callable[[str], object] = lambda text: None,
) -> Manifest:
    """Makes the folder of a run, or finds out how far it came.

    Every part that is there is compared with its checksum. One that differs or is gone is written
    again; one that was complete when the run ended, and is not in the manifest yet, is taken.

    Args:
        folder: The folder; new, empty, or that of the run to go on with.
        wanted: The manifest that the run would have without any part.
        resume: Whether to go on with a run that is there.
        note: Called with a sentence on every part that is to be written again.

    Returns:
        The `Manifest` with the parts that are there.

    Raises:
        OSError: If nothing can be written there.
        StreamError: If it holds something else, or a run and it is not to go on, or another run.
    """
    folder = Path(folder)
    check_folder(folder)
    for scratch in folder.glob(".*.partial"):  # of a run that was killed while it wrote
        shutil.rmtree(scratch, ignore_errors=True)
    if not (folder / manifests.FILE).exists():
        folder.mkdir(exist_ok=True)
        manifests.write_manifest(folder, wanted)
        return wanted
    there = manifests.read_manifest(folder)
    if not resume:
        state = "all" if there.complete else "some"
        raise StreamError(
            f"{folder} holds {state} of the scores of {there.input.name}, in {len(there.parts)} "
            "parts. Go on with them by --resume (resume=True), or choose another folder."
        )
    manifests.check_same(folder, there, wanted)
    left = {"parts": found(folder, there, note), "complete": False, "discoveries": None}
    return there.model_copy(update=left)


def found(
    folder: Path, manifest: Manifest, note: Callable[[str], object] = lambda text: None
) -> list[Part]:
    """The parts of a run that are in its folder, complete.

    Args:
        folder: Of the run.
        manifest: Of the run.
        note: See `begin`.
    """
    recorded = {part.name: part for part in manifest.parts}
    there = []
    for path in sorted(folder.glob(name_of(0).replace("00000", "*"))):
        part = recorded.pop(path.name, None)
        if part is None:
            part = _unrecorded(path, manifest)
        elif sha256(path) != part.sha256:
            note(f"{path} is damaged: its SHA-256 differs. It is written again.")
            continue
        if part is not None:
            there.append(part)
    for name in recorded:
        note(f"{folder / name} is gone. It is written again.")
    return there


def check_folder(folder: Path) -> None:
    """Checks that scores can be written into a folder.

    Raises:
        OSError: If nothing can be written there.
        StreamError: If it is a file, or holds something that is no scores.
    """
    check_place(folder)
    if folder.exists() and not folder.is_dir():
        raise StreamError(f"{folder} is a file; the scores go into a folder.")
    # Hidden is what a killed run left before it had a manifest.
    seen = [path.name for path in folder.glob("*") if not path.name.startswith(".")]
    if seen and manifests.FILE not in seen:
        raise StreamError(f"{folder} exists, and holds no scores; it is left as it is.")
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {folder.parent} to write {folder.name} into.")


def write_part(
    folder: Path,
    manifest: Manifest,
    number: int,
    arrays: Mapping[str, np.ndarray],
    counts: Mapping[str, int],
) -> Part:
    """Writes a part, complete or not at all; the same numbers give the same bytes.

    Args:
        folder: Of the run.
        manifest: Of the run.
        number: Of the part, from 0 on.
        arrays: Its columns.
        counts: See `Part`.

    Returns:
        The `Part`, to be recorded.

    Raises:
        OSError: If it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet

    first = manifest.first_row(number)
    rows = len(next(iter(arrays.values())))
    told = {"run": manifest.run, "first_row": first, "rows": rows, "counts": dict(counts)}
    table = pa.table({name: _column(array) for name, array in arrays.items()})
    table = table.replace_schema_metadata({_KEY: json.dumps(told, sort_keys=True)})
    path = folder / name_of(number)
    with complete_file(path) as partial:
        pyarrow.parquet.write_table(table, partial, compression="zstd")
        size, checksum = partial.stat().st_size, sha256(partial)
    return Part(
        name=path.name, first_row=first, rows=rows, bytes=size, sha256=checksum, counts=counts
    )


def record(folder: Path, manifest: Manifest, parts: list[Part]) -> Manifest:
    """Adds parts to the manifest of a run; the manifest that it has now."""
    new = {part.name: part for part in (*manifest.parts, *parts)}
    manifest = manifest.model_copy(update={"parts": [new[name] for name in sorted(new)]})
    manifests.write_manifest(folder, manifest)
    return manifest


def finish(folder: Path, manifest: Manifest, rows: int) -> Manifest:
    """Marks a run as complete.

    Args:
        folder: Of the run.
        manifest: Of the run.
        rows: How many rows its input has.

    Raises:
        StreamError: If a row is in no part, or in two.
    """
    _check_rows(folder, manifest, rows)
    found = {"rows": rows, "complete": True, "discoveries": _discoveries(folder, manifest)}
    manifest = manifest.model_copy(update=found)
    manifests.write_manifest(folder, manifest)
    return manifest


def verify(folder: str | Path) -> Manifest:
    """Checks that a folder of scores is complete, and that nothing in it was changed.

    Args:
        folder: The folder.

    Returns:
        Its `Manifest`.

    Raises:
        StreamError: If a part is missing or differs, a row is in none or in two, or the run did
            not come to its end; the message says what.
    """
    folder = Path(folder)
    manifest = manifests.read_manifest(folder)
    wrong = []
    for part in manifest.parts:
        path = folder / part.name
        if not path.is_file():
            wrong.append(f"{part.name} is missing")
        elif sha256(path) != part.sha256:
            wrong.append(f"{part.name} has another SHA-256")
    if wrong:
        raise StreamError(
            f"{folder} is not as it was written: {'; '.join(wrong)}. --resume writes it again."
        )
    if not manifest.complete:
        raise StreamError(
            f"{folder} is not complete: {manifest.count('rows'):,} rows are there. --resume goes "
            "on."
        )
    _check_rows(folder, manifest, manifest.rows)
    return manifest


def _check_rows(folder, manifest, rows):
    """Checks that every row is in one part."""
    next_row = 0
    for number, part in enumerate(manifest.parts):
        whole = part.rows == manifest.part_rows or number == len(manifest.parts) - 1
        if (part.name, part.first_row) != (name_of(number), next_row) or not whole:
            raise StreamError(
                f"{folder}: {part.name} begins at row {part.first_row}; the parts before it end at "
                f"row {next_row}."
            )
        next_row += part.rows
    if next_row != rows:
        raise StreamError(f"{folder} has the scores of {next_row} rows; the input has {rows}.")


def _unrecorded(path, manifest):
    """The part that a file is, if it was complete when the run was killed; else None."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        told = json.loads(file.schema_arrow.metadata[_KEY])
        rows = file.metadata.num_rows
    except (pa.ArrowException, OSError, TypeError, KeyError, ValueError):
        return None  # it is written again
    number = told["first_row"] // manifest.part_rows
    if told["run"] != manifest.run or told["rows"] != rows or name_of(number) != path.name:
        return None
    return Part(
        name=path.name,
        first_row=told["first_row"],
        rows=rows,
        bytes=path.stat().st_size,
        sha256=sha256(path),
        counts=told["counts"],
    )


def _column(array):
    """A column of Arrow: numbers, or lists of them where a row has a whole array, in C order."""
    import pyarrow as pa

    if array.ndim == 1:
        return pa.array(array)
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(array.shape[1:])))


def _discoveries(folder, manifest):
    """What `keras_flows.detect.benjamini_hochberg` finds, from the p-values of all parts.

    There are as many different p-values as held-out scores, however many rows: they are counted.
    """
    import pyarrow.parquet

    fdr = manifest.options.get("fdr")
    if fdr is None:
        return None
    counted: dict[float, int] = {}
    for part in manifest.parts:
        column = pyarrow.parquet.read_table(folder / part.name, columns=["p_value"])["p_value"]
        for value, count in zip(*np.unique(column.to_numpy(), return_counts=True), strict=True):
            counted[float(value)] = counted.get(float(value), 0) + int(count)
    return discoveries(counted, fdr)


def discoveries(counted: Mapping[float, int], fdr: float) -> dict[str, float]:
    """The discoveries at a false-discovery rate among p-values that were counted.

    With the m p-values in ascending order, those up to the largest i with `p_(i) <= i fdr / m`.

    Args:
        counted: How often each p-value occurs.
        fdr: The false-discovery rate.

    Returns:
        `fdr`, `discoveries` (how many) and `p_value` (the largest of them; 0 without any).
    """
    values = sorted(counted)
    ranks = np.cumsum([counted[value] for value in values])
    # As in `benjamini_hochberg`: quotients that are equal on paper may differ in the last digits.
    passed = np.flatnonzero(np.array(values) * ranks[-1] / ranks <= fdr * (1.0 + 1e-12))
    if not passed.size:
        return {"fdr": fdr, "discoveries": 0, "p_value": 0.0}
    last = passed[-1]
    return {"fdr": fdr, "discoveries": int(ranks[last]), "p_value": values[last]}
