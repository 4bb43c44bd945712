"""`python -m keras_flows` is `keras-flows`."""

from keras_flows.cli import app

app(prog_name="keras-flows")
