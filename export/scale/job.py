"""What the jobs on Ray and Beam share: the run, its parts, and what a worker does with one."""

import argparse
import contextlib
import dataclasses
import sys
from pathlib import Path

from keras_flows.files import locked
from keras_flows.stream import OnnxScorer, open_input, parts, running
from keras_flows.stream.manifest import Manifest, Part


@dataclasses.dataclass
class Job:
    """A run of which many machines score parts. The folders are those of a disk that all share.

    Attributes:
        export: The exported folder.
        rows: The Parquet file, or the folder of them.
        output: The folder of the scores.
        task: `"score"`, `"detect"` or `"encode"`.
        seed: Of the numbers that a random log_prob draws.
        threads: Of onnxruntime in each worker.
        resume: Whether to go on with a run that is there.
        part_rows: Rows of a part; None for some megabytes.
        manifest: Of the run, once it began.
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
    state: list | None = None

    @classmethod
    def of(cls, given):
        """The job that the command line describes."""
        return cls(
            *(given.export.resolve(), given.rows.resolve(), given.output.resolve()),
            *(given.task, given.seed, given.threads, given.resume, given.part_rows),
        )

    def open(self):
        """The scorer and the rows, on a worker.

        Raises:
            ExportError: If the export was replaced since the run began.
            ValueError: If the data differ from what they were when the run began.
        """
        expected = None if self.manifest is None else self.manifest.scored_by.sha256
        scorer = OnnxScorer(
            self.export, self.task, self.seed, threads=self.threads, sha256=expected
        )
        data = open_input(self.rows, scorer.takes)
        if data.rows is None:
            raise ValueError(f"{self.rows} is no Parquet: many machines begin anywhere in it.")
        self.check(data)
        return scorer, data

    def check(self, data):
        """Checks, on a worker, that the rows are what they were when the run began.

        Raises:
            ValueError: If they are not.
        """
        if self.state is not None and data.state != self.state:
            raise ValueError(f"{self.rows} changed since the run began. Begin a new one.")

    def make(self, scorer, data, number):
        """Scores and writes one part; its `Part`."""
        rows = running.rows_of(data, self.manifest, number)
        made = running.columns_of(scorer, rows)
        self.check(data)
        return running.write(self.output, self.manifest, number, made, rows.reasons)

    @contextlib.contextmanager
    def held(self, note=print):
        """Begins the run, or finds out how far it came, and at the end marks it as complete.

        Nobody else writes into the folder meanwhile.

        Yields:
            The numbers of the parts that are not there, and a function that records one that is
            done, from the JSON of its `Part`.
        """
        scorer, data = self.open()
        self.state = data.state
        wanted = running.planned(self.output, scorer, data, self.resume, self.part_rows)
        parts.check_folder(self.output)
        with locked(self.output / ".lock", f"writes into {self.output}"):
            self.manifest = parts.begin(self.output, wanted, self.resume, note)
            missing = running.missing(self.manifest)
            all_of_them = len(missing) + len(self.manifest.parts)

            def record(done):
                part = Part.model_validate_json(done)
                self.manifest = parts.record(self.output, self.manifest, [part])
                note(f"{len(self.manifest.parts)} of {all_of_them} parts: {part.name}")

            yield missing, record
            data.check_unchanged()
            self.manifest = parts.finish(self.output, self.manifest, self.manifest.rows)
            note(f"complete: {self.manifest.rows:,} rows in {all_of_them} parts")

    def look(self):
        """Records the parts that are there, whoever wrote them."""
        there = parts.found(self.output, self.manifest)
        self.manifest = parts.record(self.output, self.manifest, there)


def arguments(description):
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("export", type=Path, help="folder that `keras-flows export` wrote")
    parser.add_argument("rows", type=Path, help="a .parquet file, or a folder of them")
    parser.add_argument("output", type=Path, help="folder for the scores, on a disk that all share")
    parser.add_argument("--task", choices=["score", "detect", "encode"], default="score")
    parser.add_argument("--seed", type=int, default=0, help="of the draws of a random log_prob")
    parser.add_argument("--workers", type=int, default=2, help="how many score at a time")
    parser.add_argument("--threads", type=int, default=1, help="of onnxruntime in each")
    parser.add_argument("--part-rows", type=int, help="rows of a part; some megabytes by default")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was ended")
    return parser


@contextlib.contextmanager
def plain_errors():
    """Ends the program with the message of an error in what it was given, without a traceback."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
