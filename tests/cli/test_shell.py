"""The commands in processes of their own: what they leave on standard error, and pipes."""

import os
import subprocess
import sys

import pytest

RUN = """
import sys
sys.argv = ["keras-flows", *{arguments!r}]
from keras_flows.cli import app
try:
    app(prog_name="keras-flows")
finally:
    heavy = ["tensorflow", "keras", "numpy", "pandas"]
    assert not [name for name in heavy if name in sys.modules], "heavy imports"
"""
COMPUTE = """
import sys
sys.argv = ["keras-flows"]
import keras_flows.cli
import tensorflow as tf
print(tf.ones(2).numpy().sum())
"""


def environment():
    """That of a user: without what the tests set for TensorFlow."""
    return {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}


def start(*arguments):
    program = RUN.format(arguments=list(arguments))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", program], env=environment(), text=True, **pipes)


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["list", "--json"], ["show", "denseflow_mnist"], ["--help"], ["--version"]],
    ids=" ".join,
)
def test_light_commands_do_without_tensorflow_and_say_nothing_else(arguments):
    process = start(*arguments)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out and err == ""


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"]], ids=" ".join)
def test_a_reader_that_leaves_is_no_error(arguments):
    process = start(*arguments)
    process.stdout.close()  # before a byte was written, as `| head -0` does
    assert process.stderr.read() == ""
    assert process.wait() == 1


# TensorFlow 2.21 writes these before it reads any variable: tensorflow issue 100442.
UNAVOIDABLE = ("oneDNN custom operations are on", "Could not find cuda drivers")
REMARK = "WARNING: All log messages before absl::InitializeLog()"


@pytest.mark.slow  # imports TensorFlow in another process
def test_a_command_that_needs_tensorflow_leaves_no_more_than_its_import_does():
    done = subprocess.run(
        [sys.executable, "-c", COMPUTE], env=environment(), capture_output=True, text=True
    )
    assert done.stdout == "2.0\n", done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith(REMARK)]
    assert [line for line in lines if not any(part in line for part in UNAVOIDABLE)] == []


@pytest.mark.slow  # imports TensorFlow in another process
def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "keras_flows", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("keras-flows "), done.stderr
