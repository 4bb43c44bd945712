"""Glow."""

from keras_flows.models.family import Family
from keras_flows.models.glow.configurations import CONFIGURATIONS as _CONFIGURATIONS
from keras_flows.models.glow.model import Glow as Glow
from keras_flows.models.glow.network import GlowNetwork as GlowNetwork
from keras_flows.models.glow.recipes import RECIPES
from keras_flows.models.glow.top_prior import TopPrior as TopPrior

FAMILY = Family(models=(Glow,), configurations=_CONFIGURATIONS, recipes=RECIPES)
