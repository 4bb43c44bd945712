"""Autoregressive flows on images, pixel by pixel."""

from keras_flows.models.family import Family
from keras_flows.models.pixelcnn.configurations import CONFIGURATIONS as _CONFIGURATIONS
from keras_flows.models.pixelcnn.model import PixelCNN as PixelCNN
from keras_flows.models.pixelcnn.model import PixelCNNPlusPlus as PixelCNNPlusPlus
from keras_flows.models.pixelcnn.recipes import RECIPES

FAMILY = Family(
    models=(PixelCNN, PixelCNNPlusPlus), configurations=_CONFIGURATIONS, recipes=RECIPES
)
