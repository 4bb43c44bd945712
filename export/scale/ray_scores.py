"""Scores Parquet files on a Ray cluster: a pool of actors, one onnxruntime session each.

    python ray_scores.py deployed rows.parquet scores --workers 8 --address auto

The parts, their bytes and the manifest are those of `keras-flows score deployed rows.parquet
-o scores --runtime onnx` on one machine. Run it again with --resume after any end.
"""

import os

os.environ["KERAS_FLOWS_RUNTIME"] = "onnx"  # read when keras_flows is imported: no TensorFlow

import ray
from job import Job, arguments, plain_errors


class Worker:
    """An actor: it loads the graph once, and scores the parts that it is handed."""

    def __init__(self, job):
        self._job = job
        self._scorer, self._data = job.open()

    def __call__(self, row):
        """Scores and writes one part; the record of it."""
        part = self._job.make(self._scorer, self._data, int(row["item"]))
        return {"part": part.model_dump_json()}


def run(job, workers, note=print):
    """Scores what is not there yet, and records every part as it comes.

    Args:
        job: The `Job`.
        workers: How many actors.
        note: Called with a line on every part.

    Returns:
        The manifest of the complete run.
    """
    with job.held(note) as (missing, record):
        if missing:
            # A block for every part: what a lost node had is done by another, and no more.
            parts = ray.data.from_items(missing, override_num_blocks=len(missing))
            made = parts.map(
                Worker,
                fn_constructor_args=(job,),
                concurrency=workers,
                num_cpus=job.threads,
                # An actor, or its node, may die any number of times; an error in the data is one.
                max_restarts=-1,
                max_task_retries=-1,
            )
            for row in made.iter_rows():
                record(row["part"])
    return job.manifest


def main():
    """Runs the job that the command line describes."""
    parser = arguments(__doc__)
    parser.add_argument("--address", help="of the Ray cluster; one is started here by default")
    given = parser.parse_args()
    with plain_errors():
        job = Job.of(given)
        environment = {"env_vars": {"KERAS_FLOWS_RUNTIME": "onnx"}}
        ray.init(given.address, runtime_env=environment, log_to_driver=False)
        run(job, given.workers)


if __name__ == "__main__":
    main()
