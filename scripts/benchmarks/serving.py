"""Processes that measure on demand, so that two of them can take turns.

A worker makes what it measures, says what that took, and then waits: for every line on its input,
the name of a function and how often to call it, it answers with the seconds of every call. Only one
worker runs at a time. This file needs nothing but Python, as it runs in other environments too.
"""

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

# What stands before an answer, as libraries print too.
_MARK = "\x1eworker "


def now():
    """Seconds of processor time of this process, and on the clock."""
    return time.process_time(), time.perf_counter()


def since(begin):
    """The same, from an earlier moment on."""
    return [after - before for after, before in zip(now(), begin, strict=True)]


def timed(function, *arguments):
    """What a call gives, and the seconds it took, `[process, wall]`."""
    begin = now()
    made = function(*arguments)
    return made, since(begin)


def repeated(function):
    """From how often, to the seconds of every call."""
    return lambda times: [timed(function)[1] for _ in range(times)]


def peak():
    """The most memory that this process held, GB."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux ru_maxrss begins with what the parent held
        held = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(held.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def serve(prepare):
    """The main program of a worker.

    Args:
        prepare: From the case, a dictionary, to the functions that it offers, by name (from how
            often, to the seconds of every call), and to facts, a dictionary; None where the case
            is not there to measure.
    """
    threads = os.environ["BENCHMARK_THREADS"]
    made = prepare(json.loads(sys.argv[1]), int(threads))
    functions, facts = ({}, None) if made is None else made

    def answer(content):
        print(_MARK + json.dumps(content), flush=True)

    answer({"facts": facts, "names": list(functions)})
    for line in sys.stdin:
        name, times = json.loads(line)
        answer({"seconds": functions[name](times), "memory": peak()})


class Worker:
    """A process that measures a case.

    Args:
        script: The program, a path.
        case: See `serve`.
        python: The interpreter.
        tree: The checkout whose package it measures; None where it measures another.
        threads: How many it may use.

    Attributes:
        facts: What it said when it was ready.
        names: The functions that it offers.
    """

    def __init__(self, script, case, python=sys.executable, tree=None, threads=1):
        environment = {**os.environ, "BENCHMARK_THREADS": str(threads)}
        # Where a library asks the environment, and not the program.
        environment |= {"OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "2"}
        if tree is not None:
            environment["PYTHONPATH"] = str(tree)
        self._case = case
        self._process = subprocess.Popen(
            [str(python), str(script), json.dumps(case)],
            env=environment,
            cwd=tree,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ready = self._answer()
        self.facts, self.names = ready["facts"], ready["names"]

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith(_MARK):
                return json.loads(line.removeprefix(_MARK))
        raise RuntimeError(f"The process that measures {self._case} ended; see above.")

    def run(self, name, times):
        """`[process, wall]` of every call of a function, and the memory after them, GB."""
        self._process.stdin.write(json.dumps([name, times]) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer["seconds"], answer["memory"]

    def close(self):
        """Ends it."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextlib.contextmanager
def open_workers(makers):
    """Workers by name, from functions that make them; those without facts are left out."""
    workers = {}
    try:
        for name, make in makers.items():
            workers[name] = make()
        yield {name: worker for name, worker in workers.items() if worker.facts is not None}
    finally:
        for worker in workers.values():
            worker.close()


def in_turns(workers, name, times, rounds):
    """Calls of one function in several workers, in turns: A B A B.

    Returns:
        The `summary` for each worker.
    """
    seconds, memory = {side: [] for side in workers}, {}
    for worker in workers.values():
        worker.run(name, 1)  # the first call may compile
    for _ in range(rounds):
        for side, worker in workers.items():
            made, memory[side] = worker.run(name, times)
            seconds[side] += made
    return {side: {**summary(made), "memory": memory[side]} for side, made in seconds.items()}


def summary(seconds):
    """Minima and medians of `[process, wall]`, a dictionary."""
    process, wall = zip(*seconds, strict=True)
    return {
        "process": {"min": min(process), "median": statistics.median(process)},
        "wall": {"min": min(wall), "median": statistics.median(wall)},
        "calls": len(seconds),
    }
