"""Flow++."""

from keras_flows.models.family import Family
from keras_flows.models.flowpp.dequantization import (
    FlowPlusPlusDequantization as FlowPlusPlusDequantization,
)
from keras_flows.models.flowpp.model import FlowPlusPlus as FlowPlusPlus
from keras_flows.models.flowpp.network import FlowPlusPlusNetwork as FlowPlusPlusNetwork
from keras_flows.models.flowpp.steps import PartsConv1x1 as PartsConv1x1
from keras_flows.models.flowpp.steps import PixelNorm as PixelNorm

FAMILY = Family(
    models=(FlowPlusPlus,),
    configurations={"flowpp_cifar10": (FlowPlusPlus, {"event_shape": (32, 32, 3)})},
    recipes={},
)
