"""Neural spline flows."""

from keras_flows.models.family import Family
from keras_flows.models.spline.model import SplineFlow as SplineFlow

FAMILY = Family(models=(SplineFlow,), configurations={}, recipes={})
