"""VFlow."""

from keras_flows.models.family import Family
from keras_flows.models.vflow.augmentation import Augmentation as Augmentation
from keras_flows.models.vflow.model import VFlow as VFlow

FAMILY = Family(
    models=(VFlow,),
    configurations={"vflow_cifar10": (VFlow, {"event_shape": (32, 32, 3)})},
    recipes={},
)
