"""Real NVP."""

from keras_flows.models.family import Family
from keras_flows.models.realnvp.model import RealNVP as RealNVP

FAMILY = Family(models=(RealNVP,), configurations={}, recipes={})
