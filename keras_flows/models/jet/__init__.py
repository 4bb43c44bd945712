"""Jet."""

from keras_flows.models.family import Family
from keras_flows.models.jet.model import Jet as Jet
from keras_flows.models.jet.network import VisionTransformer as VisionTransformer

FAMILY = Family(
    models=(Jet,),
    configurations={"jet_imagenet64": (Jet, {"event_shape": (64, 64, 3)})},
    recipes={},
)
