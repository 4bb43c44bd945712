"""Rows in, scores out, part by part: a run on one machine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_flows.files import locked
from keras_flows.stream import manifest as manifests
from keras_flows.stream import parts, scoring
from keras_flows.stream.inputs import Input
from keras_flows.stream.manifest import Manifest, Part
from keras_flows.stream.scorer import Scorer
from keras_flows.stream.takes import Rows

# Numbers of a part, where nobody says how many rows it has.
_WRITTEN = 2**23


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
    outside: scoring.Outside | None = None,
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
    outside = scoring.Outside() if outside is None else outside
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
    return scoring.together(list(scoring.batches(scorer, rows)))


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
    reading = scoring.reading(scorer, size)
    # Of data whose rows only reading them counts, a complete run knows the number.
    rows = manifest.rows if data.rows is None else data.rows
    for first, last in _spans(manifest, rows):
        source, number = data.read(first * size, reading), first
        while last is None or number <= last:
            made, reasons = [], {}
            for taken in _take(source, size // reading):
                reasons |= taken.reasons
                for batch in scoring.batches(scorer, taken):
                    made.append(batch)
                    progress(len(next(iter(batch.values()))))
            if not made:
                return
            yield number, scoring.together(made), reasons
            if sum(len(next(iter(batch.values()))) for batch in made) < size:
                return
            number += 1


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
