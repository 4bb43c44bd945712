"""The invertible and stochastic steps of flows, one file each; `base.py` is the contract."""

from keras_flows import _moved
from keras_flows.transforms.actnorm import ActNorm as ActNorm
from keras_flows.transforms.affine import Affine as Affine
from keras_flows.transforms.append_noise import AppendNoise as AppendNoise
from keras_flows.transforms.asinh import Asinh as Asinh
from keras_flows.transforms.autoregressive import Autoregressive as Autoregressive
from keras_flows.transforms.base import Transform as Transform
from keras_flows.transforms.batch_normalize import BatchNormalize as BatchNormalize
from keras_flows.transforms.chain import Chain as Chain
from keras_flows.transforms.columns.columns import Columns as Columns
from keras_flows.transforms.composite import Composite as Composite
from keras_flows.transforms.conv1x1 import Conv1x1 as Conv1x1
from keras_flows.transforms.coupling import AffineCoupling as AffineCoupling
from keras_flows.transforms.coupling import Coupling as Coupling
from keras_flows.transforms.dequantization import UniformDequantization as UniformDequantization
from keras_flows.transforms.drop import Drop as Drop
from keras_flows.transforms.factor_out import FactorOut as FactorOut
from keras_flows.transforms.flatten import Flatten as Flatten
from keras_flows.transforms.flow_dequantization import FlowDequantization as FlowDequantization
from keras_flows.transforms.logit import Logit as Logit
from keras_flows.transforms.max_pool import MaxPool as MaxPool
from keras_flows.transforms.patches import Patches as Patches
from keras_flows.transforms.permutation import Permutation as Permutation
from keras_flows.transforms.permutation import Reverse as Reverse
from keras_flows.transforms.residual import ResidualBlock as ResidualBlock
from keras_flows.transforms.sigmoid import Sigmoid as Sigmoid
from keras_flows.transforms.squeeze import Squeeze as Squeeze
from keras_flows.transforms.squeeze_and_drop import SqueezeAndDrop as SqueezeAndDrop
from keras_flows.transforms.standardize import Standardize as Standardize
from keras_flows.transforms.swap_halves import SwapHalves as SwapHalves
from keras_flows.transforms.triangular import Triangular as Triangular
from keras_flows.transforms.turn import Turn as Turn
from keras_flows.transforms.variational_dequantization import (
    VariationalDequantization as VariationalDequantization,
)


def __getattr__(name):
    return _moved.attribute(__name__, name)
