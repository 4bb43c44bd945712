"""SurVAE flows."""

from keras_flows.models.family import Family
from keras_flows.models.survae.model import PoolFlow as PoolFlow

# Its dequantization has dense blocks as deep as those of the flow.
_DEQUANTIZATION = {"class_name": "variational", "config": {"depth": 10}}

FAMILY = Family(
    models=(PoolFlow,),
    configurations={
        "survae_cifar10": (
            PoolFlow,
            {"event_shape": (32, 32, 3), "dequantization": _DEQUANTIZATION},
        )
    },
    recipes={},
)
