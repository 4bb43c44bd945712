"""The command line: `keras-flows`.

Results go to standard output, everything else to standard error. The exit code is 0 when the
command did what it says, 1 when it failed or a check did, 2 when it was called wrongly.
"""

# Each registers its commands, in the order of --help.
# isort: off
from keras_flows.cli import inspect as inspect
from keras_flows.cli import use as use
from keras_flows.cli import train as train
from keras_flows.cli import fit as fit
from keras_flows.cli import detect as detect
from keras_flows.cli import deploy as deploy
from keras_flows.cli import gallery as gallery
from keras_flows.cli.console import app as app

# isort: on

if __name__ == "__main__":
    app()
