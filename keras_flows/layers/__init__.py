"""The networks inside transforms: plain Keras layers that know nothing about flows."""

from keras_flows.layers.coupling.autoregressive_network import (
    AutoregressiveNetwork as AutoregressiveNetwork,
)
from keras_flows.layers.coupling.batch_norm import BatchNorm as BatchNorm
from keras_flows.layers.coupling.gated_dense_block import GatedConv1x1 as GatedConv1x1
from keras_flows.layers.coupling.gated_dense_block import GatedDenseBlock as GatedDenseBlock
from keras_flows.layers.coupling.gated_dense_block import ResidualDenseBlock as ResidualDenseBlock
from keras_flows.layers.coupling.masked_conv_network import MaskedConvNetwork as MaskedConvNetwork
from keras_flows.layers.coupling.masked_network import MADE as MADE
from keras_flows.layers.coupling.masked_network import MaskedNetwork as MaskedNetwork
from keras_flows.layers.coupling.masked_network import ResidualMADE as ResidualMADE
from keras_flows.layers.coupling.network import CouplingNetwork as CouplingNetwork
from keras_flows.layers.coupling.network import DenseAttentionBlock as DenseAttentionBlock
from keras_flows.layers.coupling.nystrom_attention import NystromAttention as NystromAttention
from keras_flows.layers.coupling.residual_convolution import (
    ResidualConvolution as ResidualConvolution,
)
from keras_flows.layers.coupling.residual_network import ResidualNetwork as ResidualNetwork
from keras_flows.layers.coupling.stream_network import StreamNetwork as StreamNetwork
from keras_flows.layers.lipschitz.activations import ELU as ELU
from keras_flows.layers.lipschitz.activations import CLipSwish as CLipSwish
from keras_flows.layers.lipschitz.activations import LeakyLipSwish as LeakyLipSwish
from keras_flows.layers.lipschitz.activations import LipSwish as LipSwish
from keras_flows.layers.lipschitz.activations import ReLU as ReLU
from keras_flows.layers.lipschitz.activations import Softplus as Softplus
from keras_flows.layers.lipschitz.activations import Tanh as Tanh
from keras_flows.layers.lipschitz.activations import VouchedActivation as VouchedActivation
from keras_flows.layers.lipschitz.activations import activation as activation
from keras_flows.layers.lipschitz.concatenation import (
    LipschitzConcatenation as LipschitzConcatenation,
)
from keras_flows.layers.lipschitz.layer import LipschitzLayer as LipschitzLayer
from keras_flows.layers.lipschitz.networks import ConditionedDense as ConditionedDense
from keras_flows.layers.lipschitz.networks import LipschitzDenseLayer as LipschitzDenseLayer
from keras_flows.layers.lipschitz.networks import LipschitzSequential as LipschitzSequential
from keras_flows.layers.lipschitz.spectral import SpectralDense as SpectralDense
from keras_flows.layers.lipschitz.spectral import SpectralLayer as SpectralLayer
from keras_flows.layers.lipschitz.spectral_conv import SpectralConv2D as SpectralConv2D
