"""The command line: `keras-flows`."""

from keras_flows.cli.app import app as app
