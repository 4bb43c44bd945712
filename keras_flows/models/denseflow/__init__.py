"""DenseFlow."""

from keras_flows.models.denseflow import checkpoint as _checkpoint
from keras_flows.models.denseflow.added_noise import AddedNoise as AddedNoise
from keras_flows.models.denseflow.added_noise import noise_norms as noise_norms
from keras_flows.models.denseflow.configurations import CONFIGURATIONS as _CONFIGURATIONS
from keras_flows.models.denseflow.cross_unit_coupling import CrossUnitBlock as CrossUnitBlock
from keras_flows.models.denseflow.cross_unit_coupling import CrossUnitCoupling as CrossUnitCoupling
from keras_flows.models.denseflow.model import DenseFlow as DenseFlow
from keras_flows.models.denseflow.recipes import RECIPES as _RECIPES
from keras_flows.models.family import Family, Published

FAMILY = Family(
    models=(DenseFlow,),
    configurations=_CONFIGURATIONS,
    recipes=_RECIPES,
    published=Published(
        describes=_checkpoint.describes,
        flow=_checkpoint.published_flow,
        weights=_checkpoint.table,
        contradicted=_checkpoint.contradicted,
        ignored=_checkpoint.IGNORED,
    ),
)
