"""Big inputs, scored part by part: bounded memory, complete parts, runs that go on after a kill.

`OnnxScorer` and all that reads and writes do without TensorFlow.
"""

from keras_flows.stream.inputs import Input as Input
from keras_flows.stream.job import Job as Job
from keras_flows.stream.manifest import Manifest as Manifest
from keras_flows.stream.manifest import read_manifest as read_manifest
from keras_flows.stream.onnx_scorer import OnnxScorer as OnnxScorer
from keras_flows.stream.opening import open_input as open_input
from keras_flows.stream.parts import verify as verify
from keras_flows.stream.running import run as run
from keras_flows.stream.scorer import Scorer as Scorer
from keras_flows.stream.scoring import in_memory as in_memory
from keras_flows.stream.takes import Takes as Takes


def __getattr__(name):
    # Imported when first used: it brings TensorFlow.
    if name == "KerasScorer":
        from keras_flows.stream.keras_scorer import KerasScorer

        return KerasScorer
    raise AttributeError(f"module 'keras_flows.stream' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), "KerasScorer"])
