"""The command line: `keras-flows`."""

from keras_flows.cli import quiet as _quiet  # first: what it sets is read once

_quiet.start_up()

from keras_flows.cli.app import app as app  # noqa: E402
