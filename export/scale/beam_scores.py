"""Scores Parquet files by an Apache Beam pipeline with RunInference.

    python beam_scores.py deployed rows.parquet scores --workers 4
    python beam_scores.py deployed rows.parquet scores --runner FlinkRunner --flink_master …

The parts, their bytes and the manifest are those of `keras-flows score deployed rows.parquet
-o scores --runtime onnx` on one machine. Options that are not this program's are those of the
runner. Run it again with --resume after any end.
"""

import os

os.environ["KERAS_FLOWS_RUNTIME"] = "onnx"  # read when keras_flows is imported: no TensorFlow

from collections.abc import Iterable, Sequence

import apache_beam as beam
import options
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from keras_flows.stream import OnnxScorer
from keras_flows.stream.takes import Rows


class Scores(ModelHandler[Rows, tuple, OnnxScorer]):
    """Rows by an exported flow, in onnxruntime.

    Args:
        job: The `keras_flows.stream.Job`, held by the program.
    """

    def __init__(self, job):
        self._job = job

    def load_model(self):
        """The scorer with its graph loaded, once in every process."""
        scorer, _ = self._job.open()
        scorer.load()
        return scorer

    def run_inference(self, batch: Sequence[Rows], model: OnnxScorer, inference_args=None):
        """The columns of every part, and what is wrong with its rows that are out of range."""
        return [(self._job.score(model, rows), rows.reasons) for rows in batch]

    def batch_elements_kwargs(self):
        """One element at a time: each is a part, scored in batches of its own."""
        return {"max_batch_size": 1}


class OfRows(beam.DoFn):
    """What needs the rows; they are opened once in every worker.

    Args:
        job: The `keras_flows.stream.Job`, held by the program.
    """

    def __init__(self, job):
        self._job = job

    def setup(self):
        """Opens the rows."""
        _, self._data = self._job.open()


class Read(OfRows):
    """From the number of a part to its rows."""

    def process(self, number: int) -> Iterable[tuple[int, Rows]]:
        """The number, and the rows of the part."""
        yield number, self._job.read(self._data, number)


class Write(OfRows):
    """Writes a part, complete or not at all."""

    def process(self, element) -> Iterable[str]:
        """The name of the part."""
        number, (made, reasons) = element
        yield self._job.write(self._data, number, made, reasons).name


def run(job, of_beam):
    """Makes the parts that are not there yet.

    They are recorded when the pipeline has ended; where it is killed they stay, and the next run
    takes them.

    Args:
        job: The `keras_flows.stream.Job`.
        of_beam: Beam's options, a list of arguments.

    Returns:
        The manifest of the complete run.
    """
    with job.held() as (missing, _):
        if missing:
            with beam.Pipeline(options=PipelineOptions(of_beam)) as pipeline:
                _ = (
                    pipeline
                    | "parts" >> beam.Create(missing)
                    | "to all workers" >> beam.Reshuffle()
                    | "rows" >> beam.ParDo(Read(job))
                    | "scores" >> RunInference(KeyedModelHandler(Scores(job)))
                    | "files" >> beam.ParDo(Write(job))
                )
            job.look()
    return job.manifest


def main():
    """Runs the pipeline that the command line describes."""
    given, of_beam = options.parser(__doc__).parse_known_args()
    if not any(option.startswith("--runner") for option in of_beam):
        of_beam += [
            "--runner=DirectRunner",
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={given.workers}",
        ]
    with options.plain_errors():
        run(options.job(given), of_beam)


if __name__ == "__main__":
    main()
