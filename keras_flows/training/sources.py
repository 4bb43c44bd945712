"""What a run is trained on, judged by and drawn from."""

import math
from abc import ABC, abstractmethod

import numpy as np
import tensorflow as tf

from keras_flows import data as data_sets
from keras_flows.measure import evaluation
from keras_flows.measure.classification import classify
from keras_flows.plot.tiles import image_grid
from keras_flows.training.recipe import ImageData, ToyData

TEST_SEED = 2**31  # of toy densities; training seeds are below it
TEST_POINTS = 100_000
CLASSIFIED = 1_000  # test images that are scored for every label


class Source(ABC):
    """The data of a run.

    Attributes:
        train: What training batches come from, by `dataset(batch_size, steps, seed, start)`; it has
            an `event_shape`.
        bits: Of the integers; None for continuous data.
        classes: How many labels the data have as contexts, those from 0 to `classes - 1`; None for
            data without labels.
        validation: The examples that reports look at.
        validation_context: Their contexts, None for a flow without.
        batch_size: How many of them at a time.
        description: What the flow was trained on, for the model card.
        picture: The file name of the picture of a preset.
    """

    train = validation = batch_size = description = bits = None
    classes = validation_context = None
    picture: str

    @abstractmethod
    def draw(self, flow, path):
        """Writes a picture of what the flow has learned."""

    @abstractmethod
    def test(self, flow):
        """The test result, a dictionary with the fields of `keras_flows.zoo.metadata.Test`."""


def source(recipe, data_dir=None, cache_dir=None):
    """The source of a recipe.

    Args:
        recipe: A `keras_flows.training.Recipe`.
        data_dir: Where TensorFlow Datasets finds its data; see `keras_flows.data.images`.
        cache_dir: A folder for decoded images; see there.

    Returns:
        A `Source`.
    """
    return _SOURCES[type(recipe.data)](recipe, data_dir, cache_dir)


class ToySource(Source):
    """A toy density: fresh draws for training and testing."""

    picture = "density.png"

    def __init__(self, recipe, data_dir, cache_dir):
        from keras_flows.plot import files, plane  # needs matplotlib: now, not after a report

        self._plane, self._files = plane, files
        self.train = data_sets.toy(recipe.data.name)
        self.validation = self.train.sample(recipe.validation_examples, seed=(TEST_SEED, 1))
        self.batch_size = 10_000
        self.title = self.train.name.replace("_", " ")
        self.description = f"{self.title}, drawn fresh for every step"

    def draw(self, flow, path):
        """Writes a picture of the density and of samples."""
        figure = self._plane.density(flow, self.train.bounds, self.train.log_prob)
        self._files.write_png(figure, path, dpi=100)

    def test(self, flow):
        data = f"{self.title}, fresh points, seed {TEST_SEED}"
        return {**score_on_toy(flow, self.train), "data": data}


def score_on_toy(flow, density):
    """Scores a flow on `TEST_POINTS` points that no training run uses.

    Args:
        flow: A flow on the plane, its norms converged.
        density: The `ToyDensity` they are drawn from.

    Returns:
        Dictionary with `nll`, `standard_error`, `examples`, `kl_divergence` and
        `kl_standard_error`, in nats.
    """
    x = density.sample(TEST_POINTS, seed=TEST_SEED)
    scores = evaluation.log_probs(flow, x)
    result = evaluation.summary(flow, scores)
    # Point by point, so that the noise of the entropy cancels.
    excess = density.log_prob(x) - scores
    return {
        "nll": result.nll,
        "standard_error": result.standard_error,
        "examples": result.examples,
        "kl_divergence": float(excess.mean()),
        "kl_standard_error": float(excess.std(ddof=1) / len(excess) ** 0.5),
    }


class ImageSource(Source):
    """A set of images: its training and test splits."""

    picture = "samples.png"

    def __init__(self, recipe, data_dir, cache_dir):
        data, common = recipe.data, {"data_dir": data_dir, "cache_dir": cache_dir}
        common |= {"bits": data.bits, "resize": data.resize, "labels": data.labels}
        self.train = data_sets.images(
            data.name, data.train, flip=data.flip, shift=data.shift, **common
        )
        self._test = data_sets.images(data.name, data.test, **common)
        self.bits, self.classes = self.train.bits, self.train.classes
        self.validation = self._test.pixels[: recipe.validation_examples]
        if data.labels:
            self.validation_context = self._test.labels[: recipe.validation_examples]
        self.batch_size = recipe.batch_size
        self._importance_samples = recipe.importance_samples
        height, width, _ = self.train.event_shape
        of_classes = "" if self.classes is None else f" of {self.classes} classes"
        self.description = (
            f"{self.train.name}: {len(self.train):,} images{of_classes}, {height}×{width}, "
            f"{self.train.bits} bits"
        )

    def draw(self, flow, path):
        """Writes a picture of samples, eight by eight; or eight of every class, a row for each."""
        # White is the highest level of the data: that of the digits is half of what 5 bits hold.
        highest = max(float(self.validation.max()), 1.0)
        labels = None if self.classes is None else np.repeat(np.arange(self.classes), 8)
        count = 64 if labels is None else len(labels)
        picture = image_grid(flow.sample(count, seed=0, context=labels), highest=highest)
        # Whole screen pixels for an image's, at least 400 of them across.
        size = math.ceil(400 / picture.shape[1])
        picture = picture.repeat(size, 0).repeat(size, 1)
        path.write_bytes(tf.io.encode_png(picture).numpy())

    def test(self, flow):
        result = evaluation.evaluate(
            flow,
            self._test.pixels,
            self._test.labels,
            batch_size=self.batch_size,
            importance_samples=self._importance_samples,
        )
        told = None
        if self.classes is not None:
            some = slice(CLASSIFIED)
            pixels, labels = self._test.pixels[some], self._test.labels[some]
            told = classify(flow, pixels, labels, self.batch_size)
        return {
            "nll": result.nll,
            "standard_error": result.standard_error,
            "examples": result.examples,
            "bits_per_dim": result.bits_per_dim,
            "importance_samples": result.importance_samples,
            "accuracy": told and told.accuracy,
            "accuracy_examples": told and told.examples,
            "data": self._test.name,
        }


_SOURCES = {ToyData: ToySource, ImageData: ImageSource}
