"""Real NVP."""

from keras_flows.models.family import Family
from keras_flows.models.realnvp.configurations import CONFIGURATIONS as _CONFIGURATIONS
from keras_flows.models.realnvp.images import ImageRealNVP as ImageRealNVP
from keras_flows.models.realnvp.model import RealNVP as RealNVP
from keras_flows.models.realnvp.network import RealNVPNetwork as RealNVPNetwork

FAMILY = Family(models=(RealNVP, ImageRealNVP), configurations=_CONFIGURATIONS, recipes={})
