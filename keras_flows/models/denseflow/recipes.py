"""Training recipes of DenseFlow."""

from typing import Any

from keras_flows.training.recipe import CosineDecay, ImageData, Optimizer, Recipe, WarmUp

_GPU = " Trained on two CPU cores; the published sizes need a GPU."
# Small DenseFlows. In as many steps Muon takes them further than Adam does.
_SMALL_DENSEFLOW = {
    "growth": 4,
    "coupling_depth": 2,
    "attention": "proper",
    "dequantization": {
        "class_name": "variational",
        "config": {"steps": 2, "width": 16, "depth": 2, "growth": 8, "context": 8},
    },
}
_MUON = Optimizer("Muon", {"weight_decay": None, "adam_weight_decay": None})

# Grcić et al. 2021, with their numbers of epochs. The steps of an epoch are the number of images
# over the batch size: 781.25 on CIFAR-10; 20,018 and 40,036 on ImageNet and 5,087 on CelebA are
# rounded below.
_AUGMENTED: dict[str, Any] = {"flip": True, "shift": 0.04}


def _dense_flow(model, summary, data, epoch_steps, epochs, last_epochs, decay, **options):
    """A configuration of DenseFlow-74-10 by its published schedule."""
    schedule = WarmUp(
        learning_rate=1e-3,
        warmup_steps=5000,
        decay=decay,
        decay_steps=epoch_steps,
        final_rate=2e-5,
        final_start=round(epochs * epoch_steps),
    )
    return Recipe(
        summary=summary,
        model=model,
        data=data,
        steps=round((epochs + last_epochs) * epoch_steps),
        optimizer=Optimizer("Adamax"),
        schedule=schedule,
        clip_norm=None,
        **options,
    )


RECIPES = {
    "denseflow_digits": Recipe(
        summary="A small DenseFlow on 8×8 handwritten digits, whose 17 levels are taken as "
        "integers of 5 bits." + _GPU,
        model="DenseFlow",
        arguments={
            **_SMALL_DENSEFLOW,
            "units": [3, 2],
            "modules": [2, 1],
            "width": 16,
            "coupling_growth": 12,
            "landmarks": 4,
            "bits": 5,
        },
        data=ImageData("digits"),
        batch_size=64,
        steps=2_000,
        optimizer=_MUON,
        schedule=CosineDecay(learning_rate=5e-3, warmup_steps=100),
        report_every=200,
        validation_examples=297,
        importance_samples=100,
    ),
    "denseflow_photographs": Recipe(
        summary="A small DenseFlow on patches of colour photographs.",
        model="DenseFlow",
        arguments={
            **_SMALL_DENSEFLOW,
            "units": [3, 2],
            "modules": [2, 1],
            "width": 24,
            "coupling_growth": 16,
            "landmarks": 4,
        },
        data=ImageData("photographs/8x8"),
        batch_size=32,
        steps=1_500,
        optimizer=_MUON,
        schedule=CosineDecay(learning_rate=5e-3, warmup_steps=100),
        report_every=500,
        validation_examples=500,
    ),
    "denseflow_mnist": Recipe(
        summary="A small DenseFlow on MNIST." + _GPU,
        model="DenseFlow",
        arguments={
            **_SMALL_DENSEFLOW,
            "units": [3, 2],
            "modules": [3, 3],
            "width": 32,
            "coupling_growth": 16,
            "landmarks": 7,
        },
        data=ImageData("mnist"),
        batch_size=64,
        steps=28_000,
        jit_compile=True,
        optimizer=_MUON,
        schedule=CosineDecay(learning_rate=6e-3, warmup_steps=200, restarts=((10_000, 3e-3),)),
        report_every=500,
        validation_examples=500,
        importance_samples=100,
    ),
    "denseflow_cifar10_paper": _dense_flow(
        "denseflow_cifar10",
        "DenseFlow-74-10 on CIFAR-10, as published.",
        ImageData("cifar10", **_AUGMENTED),
        epoch_steps=781.25,
        epochs=400,
        last_epochs=20,
        decay=0.9975,
        batch_size=64,
        report_every=625,
    ),
    "denseflow_imagenet32_paper": _dense_flow(
        "denseflow_imagenet32",
        "DenseFlow-74-10 on ImageNet32, as published.",
        ImageData("downsampled_imagenet/32x32", test="validation", **_AUGMENTED),
        epoch_steps=20_000,
        epochs=20,
        last_epochs=2,
        decay=0.95,
        batch_size=64,
        report_every=1000,
    ),
    "denseflow_imagenet64_paper": _dense_flow(
        "denseflow_imagenet64",
        "DenseFlow-74-10 on ImageNet64, as published.",
        ImageData("downsampled_imagenet/64x64", test="validation", **_AUGMENTED),
        epoch_steps=40_000,
        epochs=10,
        last_epochs=1,
        decay=0.95,
        batch_size=32,
        report_every=1000,
    ),
    "denseflow_celeba_paper": _dense_flow(
        "denseflow_celeba",
        "DenseFlow-74-10 on CelebA at 64×64, as published.",
        ImageData("celeb_a", resize=64, flip=True),
        epoch_steps=5100,
        epochs=50,
        last_epochs=5,
        decay=0.95,
        batch_size=32,
        report_every=1020,
    ),
}
