"""The invertible and stochastic steps of flows, one file each; `base.py` is the contract."""

from keras_flows.transforms.actnorm import ActNorm as ActNorm
from keras_flows.transforms.affine import Affine as Affine
from keras_flows.transforms.base import Transform as Transform
from keras_flows.transforms.chain import Chain as Chain
from keras_flows.transforms.dequantization import UniformDequantization as UniformDequantization
from keras_flows.transforms.logit import Logit as Logit
from keras_flows.transforms.permutation import Permutation as Permutation
from keras_flows.transforms.permutation import Reverse as Reverse
from keras_flows.transforms.residual import ResidualBlock as ResidualBlock
from keras_flows.transforms.sigmoid import Sigmoid as Sigmoid
from keras_flows.transforms.squeeze import Squeeze as Squeeze
