"""Jobs in processes of their own, which test_processes.py kills, starves and lets race.

Importing TensorFlow takes longer than any of the jobs: so one process imports it, and forks for
every job, before TensorFlow starts a thread of its own. It reads requests from standard input, a
line of JSON each, and answers with one:

    {"start": [job, folder, data], "log": path}    runs a job; the answer is the process id
    {"wait": pid}                                  the answer is the exit code, negative by signal
"""

import json
import os
import sys
from pathlib import Path

from keras_flows.cli.app import app
from keras_flows.models import registry
from keras_flows.training import run as runner
from tests.faults import jobs

registry.RECIPES["tiny"] = jobs.RECIPE
runner.SAVE_MINUTES = 0.0


def save(folder, data):
    """A preset over an old one."""
    jobs.Preset().write(folder, new=True)


def save_large(folder, data):
    """A preset that is larger than the disk of the tests."""
    jobs.large().save_to_preset(folder / "flow", summary="new")


def command(*arguments):
    """A job that is a command."""

    def run(folder, data):
        app([part.format(folder=folder, data=data) for part in arguments])

    return run


FINETUNE = ("--epochs", "1", "--learning-rate", "0.01")
JOBS = {
    "save": save,
    "save-large": save_large,
    "score": command("score", "{data}/preset", "{data}/points.npy", "-o", "{folder}/scores.csv"),
    "sample": command("sample", "{data}/preset", "-n", "30000", "-o", "{folder}/scores.csv"),
    "finetune": command("finetune", "{data}/preset", "{data}/few.npy", "{folder}/flow", *FINETUNE),
    "export": command("export", "{data}/preset", "{folder}/exported"),
    "saved-model": command("export", "{data}/preset", "{folder}/exported", "-f", "saved-model"),
    "train": command("train", "tiny", "-o", "{folder}", "--resume"),
}


def child(job, folder, data, log):
    """Runs a job to the end of the interpreter, which is where HDF5 may die of a full disk."""
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(target, 1)
    os.dup2(target, 2)
    JOBS[job](Path(folder), Path(data))


def main():
    """Answers requests until there are no more."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                child(*request["start"], request["log"])
                return
            answer = pid
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
