"""A run of which many machines score parts: what the machine that began it does, and a worker."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from keras_flows.files import locked
from keras_flows.stream import parts, running
from keras_flows.stream.inputs import Input
from keras_flows.stream.manifest import Manifest, Part
from keras_flows.stream.onnx_scorer import OnnxScorer
from keras_flows.stream.opening import open_input
from keras_flows.stream.takes import Rows


@dataclasses.dataclass
class Job:
    """A run of which many machines score parts, each in onnxruntime.

    One machine holds the run: it says which parts there are to do, and records those that are done.
    A worker opens the job, and makes parts, in any order, as often as it is told to: the same part
    is the same bytes. All see the same disk.

    >>> with job.held() as (missing, record):
    ...     scorer, data = job.open()  # on a worker
    ...     for number in missing:
    ...         record(job.make(scorer, data, number))

    Attributes:
        export: The exported folder.
        rows: A Parquet file, or a folder of them; or a .npy file.
        output: The folder of the scores.
        task: `"score"`, `"detect"` or `"encode"`.
        seed: Of the numbers that a random log_prob draws.
        threads: How many batches each worker computes at a time.
        resume: Whether to go on with a run that is there.
        part_rows: Rows of a part; None for some megabytes.
        manifest: Of the run, once it is held.
        state: Of the files of the rows then.
    """

    export: Path
    rows: Path
    output: Path
    task: str = "score"
    seed: int = 0
    threads: int = 1
    resume: bool = False
    part_rows: int | None = None
    manifest: Manifest | None = None
    state: list[tuple[str, int, int]] | None = None

    @property
    def begun(self) -> Manifest:
        """The manifest of the run.

        Raises:
            ValueError: If it has not begun.
        """
        if self.manifest is None:
            raise ValueError("The run has not begun: a worker opens a job that is held.")
        return self.manifest

    def open(self) -> tuple[OnnxScorer, Input]:
        """The scorer and the rows, on a worker.

        Raises:
            ExportError: If the export was replaced since the run began.
            ValueError: If the rows are not what they were then, or nobody can begin in the middle
                of them.
        """
        expected = None if self.manifest is None else self.manifest.scored_by.sha256
        scorer = OnnxScorer(
            self.export, self.task, self.seed, threads=self.threads, sha256=expected
        )
        data = open_input(self.rows, scorer.takes)
        if data.rows is None:
            raise ValueError(
                f"{self.rows} cannot be read from the middle, as many machines would: convert it "
                "to Parquet."
            )
        self._check(data)
        return scorer, data

    def _check(self, data):
        """Checks that the rows are what they were when the run began."""
        if self.state is not None and data.state != self.state:
            raise ValueError(f"{self.rows} changed since the run began. Begin a new one.")

    def read(self, data: Input, number: int) -> Rows:
        """The rows of a part."""
        return running.rows_of(data, self.begun, number)

    def score(self, scorer: OnnxScorer, rows: Rows) -> dict:
        """The columns of a part, from its rows."""
        return running.columns_of(scorer, rows)

    def write(self, data: Input, number: int, made: dict, reasons: dict[int, str]) -> Part:
        """Writes a part, complete or not at all, if the rows are still what they were.

        Raises:
            OSError: If it cannot be written.
            ValueError: If the rows changed meanwhile.
        """
        self._check(data)
        return running.write(self.output, self.begun, number, made, reasons)

    def make(self, scorer: OnnxScorer, data: Input, number: int) -> Part:
        """Reads, scores and writes a part.

        Raises:
            OSError: If it cannot be written.
            ValueError: If a row cannot be read or scored, or the rows changed meanwhile.
        """
        rows = self.read(data, number)
        return self.write(data, number, self.score(scorer, rows), rows.reasons)

    @contextlib.contextmanager
    def held(
        self, note: Callable[[str], object] = print
    ) -> Iterator[tuple[list[int], Callable[[Part], None]]]:
        """Begins the run, or finds out how far it came; at the end, marks it as complete.

        Nobody else writes into the folder meanwhile.

        Args:
            note: Called with a line on whatever happens.

        Yields:
            The numbers of the parts that are not there, and a function that records one that is.

        Raises:
            BlockingIOError: If another process holds the run.
            StreamError: If the folder is of another run; see `parts.begin`.
            ValueError: If the rows changed meanwhile.
        """
        scorer, data = self.open()
        self.state = data.state
        wanted = running.planned(self.output, scorer, data, self.resume, self.part_rows)
        parts.check_folder(self.output)
        with locked(self.output / ".lock", f"writes into {self.output}"):
            self.manifest = parts.begin(self.output, wanted, self.resume, note)
            missing = running.missing(self.manifest)
            total = len(missing) + len(self.manifest.parts)

            def record(part: Part) -> None:
                self.manifest = parts.record(self.output, self.begun, [part])
                note(f"{len(self.manifest.parts)} of {total} parts: {part.name}")

            yield missing, record
            data.check_unchanged()
            self.manifest = parts.finish(self.output, self.begun, data.rows or 0)
            note(f"complete: {self.manifest.rows:,} rows in {total} parts, {self.output}")

    def look(self) -> None:
        """Records the parts that are there, whoever wrote them."""
        self.manifest = parts.record(self.output, self.begun, parts.found(self.output, self.begun))
