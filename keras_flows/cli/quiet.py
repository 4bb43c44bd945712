"""What TensorFlow says when it starts, kept out of the way of what a command says."""

import os

# Error lines, too: without a GPU TensorFlow logs one (cuInit), and what fails raises an error in
# Python anyway. Two INFO lines of the import (oneDNN, CUDA) and absl's remark on them are written
# before TensorFlow 2.21 looks at any variable (tensorflow issue 100442); a command is without them
# if it does without TensorFlow.
_DEFAULTS = {"TF_CPP_MIN_LOG_LEVEL": "3"}


def start_up():
    """Sets the variables that TensorFlow reads when it is imported, unless they are set."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
