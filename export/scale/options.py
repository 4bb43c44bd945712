"""The command line that the programs on Ray and Beam share."""

import argparse
import contextlib
import sys
from pathlib import Path

from keras_flows.stream import Job


def parser(description):
    """The parser of the command line."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("export", type=Path, help="folder that `keras-flows export` wrote")
    made.add_argument("rows", type=Path, help="a .parquet file, or a folder of them")
    made.add_argument("output", type=Path, help="folder for the scores, on a disk that all share")
    made.add_argument("--task", choices=["score", "detect", "encode"], default="score")
    made.add_argument("--seed", type=int, default=0, help="of the draws of a random log_prob")
    made.add_argument("--workers", type=int, default=2, help="how many score at a time")
    made.add_argument("--threads", type=int, default=1, help="of each worker")
    made.add_argument("--part-rows", type=int, help="rows of a part; some megabytes by default")
    made.add_argument("--resume", action="store_true", help="go on with a run that was ended")
    return made


@contextlib.contextmanager
def plain_errors():
    """Ends the program with the message of an error in what it was given, without a traceback."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")


def job(given):
    """The job that the command line describes."""
    return Job(
        *(given.export.resolve(), given.rows.resolve(), given.output.resolve()),
        *(given.task, given.seed, given.threads, given.resume, given.part_rows),
    )
