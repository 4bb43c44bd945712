"""MaCow."""

from keras_flows.models.family import Family
from keras_flows.models.macow.model import MaCow as MaCow
from keras_flows.models.macow.networks import MaCowNetwork as MaCowNetwork
from keras_flows.models.macow.row_network import RowNetwork as RowNetwork

FAMILY = Family(
    models=(MaCow,),
    configurations={"macow_cifar10": (MaCow, {"event_shape": (32, 32, 3)})},
    recipes={},
)
