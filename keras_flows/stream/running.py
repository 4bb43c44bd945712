"""Rows in, scores out, part by part: a run on one machine."""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from keras_flows.files import locked
from keras_flows.stream import manifest as manifests
from keras_flows.stream import parts
from keras_flows.stream.inputs import Input
from keras_flows.stream.manifest import Manifest, Part
from keras_flows.stream.scorer import Scorer
from keras_flows.stream.takes import Rows

# Numbers of the input, and of a part, that are in memory at a time.
_READ, _WRITTEN = 2**22, 2**23
# Reasons of rows outside of a range that are kept, to be shown.
_SHOWN = 5


@dataclasses.dataclass
class Outside:
    """The rows outside of the range of a column.

    Attributes:
        count: How many there are.
        reasons: Of the first of them what is wrong, by row.
    """

    count: int = 0
    reasons: dict[int, str] = dataclasses.field(default_factory=dict)

    def add(self, reasons: dict[int, str]) -> None:
        """Counts more of them."""
        self.count += len(reasons)
        for row in list(reasons)[: _SHOWN - len(self.reasons)]:
            self.reasons[row] = reasons[row]


def batches(scorer: Scorer, rows: Rows) -> Iterator[dict[str, np.ndarray]]:
    """The scores of rows, a batch at a time.

    Every batch begins at a multiple of its size, and all but the last of all rows have that size:
    so the rounding of a row does not depend on the size of parts. The places of rows that are
    outside of the range of a column are filled with copies of one that is not.
    """
    size = scorer.takes.batch
    if rows.first % size:
        raise ValueError(f"Rows are scored from multiples of {size} on; got {rows.first}.")
    cut = (rows.part(start, start + size) for start in range(0, len(rows), size))
    if scorer.threads == 1 or len(rows) <= size:
        yield from map(functools.partial(_batch, scorer), cut)
        return
    with concurrent.futures.ThreadPoolExecutor(scorer.threads) as pool:
        yield from pool.map(functools.partial(_batch, scorer), cut)


def _batch(scorer, part):
    """The scores of one batch."""
    if part.inside.all():
        return scorer.scores(part.x, part.context, part.first)
    made = scorer.outside(part)
    inside = np.flatnonzero(part.inside)
    if len(inside):
        places = np.where(part.inside, np.arange(len(part)), inside[0])
        context = None if part.context is None else part.context[places]
        for name, values in scorer.scores(part.x[places], context, part.first).items():
            made[name][part.inside] = values[part.inside]
    return made


def in_memory(
    scorer: Scorer,
    data: Input,
    outside: Outside | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> dict[str, np.ndarray]:
    """The scores of all rows, as arrays.

    Args:
        scorer: What scores them.
        data: The rows.
        outside: To count the rows in that are outside of a range.
        progress: Called with the number of rows of every batch.

    Returns:
        The columns of the scorer by name, `(n, …)`.

    Raises:
        ValueError: If a row cannot be read or scored.
    """
    outside = Outside() if outside is None else outside
    made = []
    for rows in data.read(0, _reading(scorer, data.rows or 100 * scorer.takes.batch)):
        outside.add(rows.reasons)
        for batch in batches(scorer, rows):
            made.append(batch)
            progress(len(next(iter(batch.values()))))
    if not made:
        raise ValueError(f"{data.name} is empty: it holds no rows.")
    data.check_unchanged()
    return _together(made)


def describe(scorer: Scorer, data: Input, part_rows: int | None = None, **options) -> Manifest:
    """The manifest of a run before it begins.

    Args:
        scorer: What scores the rows.
        data: The rows.
        part_rows: Rows of a part, a multiple of the scorer's batch; by default so many that a part
            is some megabytes.
        **options: What else the run depends on.

    Raises:
        ValueError: If part_rows is no such number.
    """
    batch = scorer.takes.batch
    if part_rows is None:
        part_rows = batch * max(1, min(100, _WRITTEN // (batch * scorer.takes.width)))
    if part_rows < 1 or part_rows % batch:
        raise ValueError(
            f"A part has a multiple of {batch:,} rows, which are computed at a time; got "
            f"{part_rows:,}."
        )
    return Manifest(
        task=scorer.task,
        input=data.fingerprint,
        context=data.context_fingerprint,
        scored_by=scorer.scored_by,
        likelihood=scorer.likelihood,
        seed=scorer.seed,
        options={**scorer.options, **options},
        columns=scorer.columns,
        batch=batch,
        part_rows=part_rows,
        rows=data.rows,
    )


def planned(
    folder: Path,
    scorer: Scorer,
    data: Input,
    resume: bool,
    part_rows: int | None,
    **options: object,
) -> Manifest:
    """The manifest of a run before it begins; one that goes on has parts of the size it has.

    Args:
        folder: Of the run.
        scorer: See `describe`, like the other arguments.
        data: See there.
        resume: Whether the run goes on where it is there already.
        part_rows: See there.
        **options: See there.
    """
    wanted = describe(scorer, data, part_rows, **options)
    if not resume or part_rows is not None or not (folder / manifests.FILE).exists():
        return wanted
    return wanted.model_copy(update={"part_rows": manifests.read_manifest(folder).part_rows})


def run(
    scorer: Scorer,
    data: Input,
    folder: str | Path,
    resume: bool = False,
    part_rows: int | None = None,
    outside: Outside | None = None,
    progress: Callable[[int], object] = lambda rows: None,
    note: Callable[[str], object] = lambda text: None,
    began: Callable[[Manifest], object] = lambda manifest: None,
    **options: object,
) -> Manifest:
    """Scores rows into a folder: Parquet files of so many rows each, in order, and a manifest.

    >>> scorer = kf.stream.KerasScorer("my_flow", "score")
    >>> data = kf.stream.open_input("rows.parquet", scorer.takes)
    >>> kf.stream.run(scorer, data, "scores", resume=True)

    A part is complete or not there. After a kill, `resume` goes on behind the last complete one,
    and ends with the same bytes; it refuses other data, another flow, another seed.

    Args:
        scorer: What scores the rows: a `KerasScorer` or an `OnnxScorer`.
        data: The rows, from `open_input`.
        folder: Where the scores go.
        resume: Whether to go on with a run that is there already.
        part_rows: Rows of a part; see `describe`.
        outside: To count the rows in that are outside of a range.
        progress: Called with the number of rows of every batch.
        note: Called with a sentence on whatever is written again.
        began: Called with the manifest as it is when the work begins.
        **options: What else the run depends on, noted in the manifest.

    Returns:
        The `Manifest` of the complete run.

    Raises:
        BlockingIOError: If another process writes into the folder.
        OSError: If a part cannot be written; those that are complete stay.
        StreamError: If the folder is of something else; see `parts.begin`.
        ValueError: If a row cannot be read or scored, or the data changed meanwhile.
    """
    folder = Path(folder)
    outside = Outside() if outside is None else outside
    wanted = planned(folder, scorer, data, resume, part_rows, **options)
    parts.check_folder(folder)
    with locked(folder / ".lock", f"writes into {folder}"):
        manifest = parts.begin(folder, wanted, resume, note)
        began(manifest)
        for number, made, reasons in _made(scorer, data, manifest, progress):
            outside.add(reasons)
            data.check_unchanged()
            part = write(folder, manifest, number, made, reasons)
            manifest = parts.record(folder, manifest, [part])
        rows = manifest.count("rows")
        if rows == 0:
            raise ValueError(f"{data.name} is empty: it holds no rows.")
        return parts.finish(folder, manifest, rows if data.rows is None else data.rows)


# Of one part, wherever that is done -------------------------------------------------------------


def rows_of(data: Input, manifest: Manifest, number: int) -> Rows:
    """The rows of one part of a run.

    Args:
        data: All rows.
        manifest: Of the run.
        number: Of the part.

    Raises:
        ValueError: If they cannot be read.
    """
    return next(data.read(manifest.first_row(number), manifest.part_rows))


def columns_of(scorer: Scorer, rows: Rows) -> dict[str, np.ndarray]:
    """The scores of the rows of a part, `(n, …)` by name.

    Raises:
        ValueError: If a row cannot be scored.
    """
    return _together(list(batches(scorer, rows)))


def write(
    folder: Path,
    manifest: Manifest,
    number: int,
    made: dict[str, np.ndarray],
    reasons: dict[int, str],
) -> Part:
    """Writes the scores of a part.

    Args:
        folder: Of the run.
        manifest: Of the run.
        number: Of the part.
        made: Its scores.
        reasons: What is wrong with its rows that are out of range.

    Returns:
        The `Part`, to be recorded in the manifest.

    Raises:
        OSError: If it cannot be written.
    """
    flagged = {"flagged": int(made["flag"].sum())} if "flag" in made else {}
    counts = {"out_of_range": len(reasons), **flagged}
    return parts.write_part(folder, manifest, number, made, counts)


def missing(manifest: Manifest) -> list[int]:
    """The numbers of the parts that are not there yet, of data whose rows are counted."""
    assert manifest.rows is not None  # for others nobody knows
    there = {part.first_row // manifest.part_rows for part in manifest.parts}
    return [n for n in range(-(-manifest.rows // manifest.part_rows)) if n not in there]


def _made(scorer, data, manifest, progress):
    """The parts that are not there: the number, the columns, and the rows outside of a range."""
    size = manifest.part_rows
    reading = _reading(scorer, size)
    # Of data whose rows only reading them counts, a complete run knows the number.
    rows = manifest.rows if data.rows is None else data.rows
    for first, last in _spans(manifest, rows):
        source, number = data.read(first * size, reading), first
        while last is None or number <= last:
            made, reasons = [], {}
            for taken in _take(source, size // reading):
                reasons |= taken.reasons
                for batch in batches(scorer, taken):
                    made.append(batch)
                    progress(len(next(iter(batch.values()))))
            if not made:
                return
            yield number, _together(made), reasons
            if sum(len(next(iter(batch.values()))) for batch in made) < size:
                return
            number += 1


def _together(made):
    """Batches of columns, one after the other."""
    return {name: np.concatenate([batch[name] for batch in made]) for name in made[0]}


def _take(source, number):
    """The next so many of an iterator, which stays usable."""
    for _ in range(number):
        rows = next(source, None)
        if rows is None:
            return
        yield rows


def _spans(manifest, rows):
    """From which to which part there are gaps; None where the end of the data is the end."""
    there = sorted(part.first_row // manifest.part_rows for part in manifest.parts)
    last = None if rows is None else -(-rows // manifest.part_rows) - 1
    short = any(part.rows < manifest.part_rows for part in manifest.parts)
    spans, expected = [], 0
    for number in there:
        if number > expected:
            spans.append((expected, number - 1))
        expected = number + 1
    if (last is None and not short) or (last is not None and expected <= last):
        spans.append((expected, last))
    return spans


def _reading(scorer, part_rows):
    """Rows to read at a time: batches, a divisor of a part, and not too many numbers."""
    batch = scorer.takes.batch
    whole = max(1, part_rows // batch)
    most = max(1, _READ // (batch * scorer.takes.width))
    return batch * max(d for d in range(1, whole + 1) if whole % d == 0 and d <= most)
