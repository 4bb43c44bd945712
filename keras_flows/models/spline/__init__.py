"""Neural spline flows."""

from keras_flows.models.family import Family
from keras_flows.models.spline.model import SplineFlow as SplineFlow
from keras_flows.models.spline.recipes import RECIPES as _RECIPES

FAMILY = Family(models=(SplineFlow,), configurations={}, recipes=_RECIPES)
