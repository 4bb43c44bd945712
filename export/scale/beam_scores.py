"""Scores Parquet files by an Apache Beam pipeline with RunInference.

    python beam_scores.py deployed rows.parquet scores --workers 4
    python beam_scores.py deployed rows.parquet scores --runner FlinkRunner --flink_master …

The parts, their bytes and the manifest are those of `keras-flows score deployed rows.parquet
-o scores --runtime onnx` on one machine. Options that are not this program's are those of the
runner; run it again with --resume after any end.
"""

import os

os.environ["KERAS_FLOWS_RUNTIME"] = "onnx"  # read when keras_flows is imported: no TensorFlow

from collections.abc import Iterable, Sequence

import apache_beam as beam
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from job import Job, arguments, plain_errors

from keras_flows.stream import OnnxScorer, running
from keras_flows.stream.takes import Rows


class Scores(ModelHandler[Rows, tuple, OnnxScorer]):
    """Rows by an exported flow, in onnxruntime.

    Args:
        job: The `Job`, begun.
    """

    def __init__(self, job):
        self._job = job

    def load_model(self):
        """The scorer with its graph loaded, once in every process."""
        scorer, _ = self._job.open()
        scorer.load()
        return scorer

    def run_inference(self, batch: Sequence[Rows], model: OnnxScorer, inference_args=None):
        """The columns of the rows of every element, and what is wrong with those out of range."""
        return [(running.columns_of(model, rows), rows.reasons) for rows in batch]

    def batch_elements_kwargs(self):
        """One element at a time: each is a part of the run, which has batches inside."""
        return {"max_batch_size": 1}


class Read(beam.DoFn):
    """From the number of a part to its rows.

    Args:
        job: The `Job`, begun.
    """

    def __init__(self, job):
        self._job = job

    def setup(self):
        """Opens the data, once in every worker."""
        _, self._data = self._job.open()

    def process(self, number: int) -> Iterable[tuple[int, Rows]]:
        """The number, and the rows of the part."""
        yield number, running.rows_of(self._data, self._job.manifest, number)


class Write(beam.DoFn):
    """Writes a part, complete or not at all.

    Args:
        job: The `Job`, begun.
    """

    def __init__(self, job):
        self._job = job

    def process(self, element) -> Iterable[str]:
        """The name of the part."""
        number, (made, reasons) = element
        part = running.write(self._job.output, self._job.manifest, number, made, reasons)
        yield part.name


def run(job, options, note=print):
    """Scores what is not there yet.

    The parts are recorded when the pipeline has ended; one that is killed leaves them complete, and
    the next run takes them.

    Args:
        job: The `Job`.
        options: Beam's, a list of arguments.
        note: Called with a line on every part.

    Returns:
        The manifest of the complete run.
    """
    with job.held(note) as (missing, _):
        if missing:
            with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
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
    given, options = arguments(__doc__).parse_known_args()
    if not any(option.startswith("--runner") for option in options):
        several = [
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={given.workers}",
        ]
        options += ["--runner=DirectRunner", *several]
    with plain_errors():
        run(Job.of(given), options)


if __name__ == "__main__":
    main()
