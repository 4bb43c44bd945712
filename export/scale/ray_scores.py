"""Scores Parquet files on a Ray cluster: a pool of actors, one onnxruntime session each.

    python ray_scores.py deployed rows.parquet scores --workers 8 --address auto

The parts, their bytes and the manifest are those of `keras-flows score deployed rows.parquet
-o scores --runtime onnx` on one machine. Run it again with --resume after any end.
"""

import os

os.environ["KERAS_FLOWS_RUNTIME"] = "onnx"  # read when keras_flows is imported: no TensorFlow

import options
import ray

from keras_flows.stream.manifest import Part


class Worker:
    """An actor: it opens the job once, and makes the parts that it is handed.

    Args:
        job: The `keras_flows.stream.Job`, held by the driver.
    """

    def __init__(self, job):
        self._job, self._opened = job, None
        self._where = f"node {ray.get_runtime_context().get_node_id()[:8]}, process {os.getpid()}"

    def __call__(self, row):
        """Makes one part; the record of it, and where it was made."""
        # Not in the constructor: an actor that dies there is started anew for ever. What a call
        # refuses, such as an export that was replaced, ends the job.
        if self._opened is None:
            self._opened = self._job.open()
        part = self._job.make(*self._opened, int(row["item"]))
        return {"part": part.model_dump_json(), "where": self._where}


def run(job, workers):
    """Makes the parts that are not there yet, and records each as it comes.

    Args:
        job: The `keras_flows.stream.Job`.
        workers: How many actors.

    Returns:
        The manifest of the complete run.
    """
    with job.held() as (missing, record):
        if missing:
            # A block for every part: what a lost node had is done by another, and no more.
            numbers = ray.data.from_items(missing, override_num_blocks=len(missing))
            # Ray Data starts an actor anew, and hands its part to another, however often it dies;
            # an error in the data is an error of the job.
            made = numbers.map(
                Worker,
                fn_constructor_args=(job,),
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_cpus=job.threads,
            )
            for row in made.iter_rows():
                record(Part.model_validate_json(row["part"]))
                print(f"    by {row['where']}", flush=True)
    return job.manifest


def main():
    """Runs the job that the command line describes."""
    parser = options.parser(__doc__)
    parser.add_argument("--address", help="of the Ray cluster; one is started here by default")
    given = parser.parse_args()
    with options.plain_errors():
        environment = {"env_vars": {"KERAS_FLOWS_RUNTIME": "onnx"}}
        ray.init(given.address, runtime_env=environment, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        run(options.job(given), given.workers)


if __name__ == "__main__":
    main()
