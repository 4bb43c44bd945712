"""The published configurations: what is not here is the default of the class."""

from keras_flows.models.pixelcnn.model import PixelCNN, PixelCNNPlusPlus

CONFIGURATIONS = {
    "pixelcnn_cifar10": (PixelCNN, {"event_shape": (32, 32, 3)}),
    "pixelcnnpp_cifar10": (PixelCNNPlusPlus, {"event_shape": (32, 32, 3)}),
}
