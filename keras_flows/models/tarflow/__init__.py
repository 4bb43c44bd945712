"""TarFlow."""

from keras_flows.models.family import Family
from keras_flows.models.tarflow.model import TarFlow as TarFlow
from keras_flows.models.tarflow.network import TokenNetwork as TokenNetwork

FAMILY = Family(
    models=(TarFlow,),
    configurations={"tarflow_imagenet64": (TarFlow, {"event_shape": (64, 64, 3)})},
    recipes={},
)
