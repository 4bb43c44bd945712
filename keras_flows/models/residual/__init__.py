"""i-DenseNet and Residual Flow."""

from keras_flows.models.family import Family, Published
from keras_flows.models.residual import checkpoint as _checkpoint
from keras_flows.models.residual.configurations import CONFIGURATIONS as _CONFIGURATIONS
from keras_flows.models.residual.model import IDenseNet as IDenseNet
from keras_flows.models.residual.model import ResidualFlow as ResidualFlow
from keras_flows.models.residual.recipes import RECIPES as _RECIPES

FAMILY = Family(
    models=(IDenseNet, ResidualFlow),
    configurations=_CONFIGURATIONS,
    recipes=_RECIPES,
    published=Published(
        describes=_checkpoint.describes,
        flow=_checkpoint.published_flow,
        weights=_checkpoint.weights,
        contradicted=_checkpoint.contradicted,
        ignored=_checkpoint.IGNORED,
    ),
)
