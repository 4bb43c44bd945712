"""Training recipes of i-DenseNet and Residual Flow."""

from typing import Any

from keras_flows.training.recipe import CosineDecay, ImageData, Optimizer, Recipe, ToyData, WarmUp

_GPU = " Trained on two CPU cores; the published sizes need a GPU."
_MUON = Optimizer("Muon", {"weight_decay": None, "adam_weight_decay": None})
_ADAM = Optimizer("Adam", {"beta_1": 0.9, "beta_2": 0.99})

# Small flows on images, for a CPU core or two: squeezed first, and few channels.
_SMALL: dict[str, Any] = {
    "blocks": [4, 4],
    "squeeze_first": True,
    "fully_connected": {"blocks": 2},
    "activation": "lipswish",
}

# Perugachi-Diaz et al. 2021 and Chen et al. 2019. The batch size of 64 and the averages' momentum
# of 0.999 are not in the texts at hand, nor are the epochs on data other than MNIST: on CIFAR-10
# and ImageNet32 they are those of DenseFlow.
_LIPSCHITZ: dict[str, Any] = {
    "batch_size": 64,
    "optimizer": _ADAM,
    "schedule": WarmUp(learning_rate=1e-3, warmup_steps=1000),
    "clip_norm": 1.0,
    "ema": 0.999,
}
_MNIST_PAPER: dict[str, Any] = {
    **_LIPSCHITZ,
    "data": ImageData("mnist", resize=32),
    "steps": 187_500,  # 200 epochs
    "report_every": 625,
}
_CIFAR10_PAPER: dict[str, Any] = {
    **_LIPSCHITZ,
    "data": ImageData("cifar10", flip=True),
    "steps": 312_500,  # 400 epochs
    "report_every": 625,
}
# The concatenations learn after 25 epochs.
_HELD: dict[str, Any] = {"concatenation_start": 19_531}

# The toy table: one recipe for all flows, so that only the models differ.
_TABLE = ("two_circles", "checkerboard", "two_moons")
_FURTHER = ("rings", "eight_gaussians", "pinwheel", "two_spirals", "swiss_roll")
_TOY_MODELS: dict[str, Any] = {
    "residual_flow": ("Residual Flow", "ResidualFlow", {}),
    "idensenet": (
        "i-DenseNet with fixed concatenation",
        "IDenseNet",
        {"learnable_concatenation": False},
    ),
    "idensenet_lc": (
        "i-DenseNet with learnable concatenation",
        "IDenseNet",
        {"learnable_concatenation": True},
    ),
}


def _toy(prefix, density):
    title, model, arguments = _TOY_MODELS[prefix]
    return Recipe(
        summary=f"{title} on the {density.replace('_', ' ')} density.",
        model=model,
        arguments={
            "block_bound": 0.99,
            # A sharp bend from the start: the edges of a density are made of bends.
            "activation": {"class_name": "lipswish", "config": {"beta": 40.0}},
            **arguments,
        },
        data=ToyData(density),
        steps=4000,
        batch_size=500,
        # Its updates have one spectral norm, like the matrices they change.
        optimizer=_MUON,
        schedule=CosineDecay(learning_rate=6e-3, warmup_steps=200),
        clip_norm=10.0,
        validation_examples=10_000,
    )


RECIPES = {
    **{f"{p}_{density}": _toy(p, density) for density in _TABLE for p in _TOY_MODELS},
    **{f"idensenet_lc_{density}": _toy("idensenet_lc", density) for density in _FURTHER},
    "idensenet_lc_digits": Recipe(
        summary="A small i-DenseNet with learnable concatenation on 8×8 handwritten digits." + _GPU,
        model="IDenseNet",
        arguments={**_SMALL, "depth": 3, "growth": 16, "bits": 5},
        data=ImageData("digits"),
        steps=6000,
        batch_size=64,
        optimizer=_ADAM,
        schedule=CosineDecay(learning_rate=2e-3, warmup_steps=500),
        ema=0.999,
        report_every=250,
        validation_examples=297,
    ),
    "idensenet_lc_mnist": Recipe(
        summary="A small i-DenseNet with learnable concatenation on MNIST." + _GPU,
        model="IDenseNet",
        arguments={
            "blocks": [5, 5],
            "squeeze_first": True,
            # They would have most of the parameters, and a pixel is best known by its neighbours.
            "fully_connected": None,
            "depth": 3,
            "growth": 24,
            "block_bound": 0.98,
            # The default leaves an error of 2e-4 of a pixel, as the blocks contract so slowly.
            "tolerance": 2e-7,
            "alpha": 1e-6,
            "dequantization": {
                "class_name": "variational",
                "config": {"steps": 4, "width": 24, "depth": 2, "growth": 16, "context": 16},
            },
        },
        data=ImageData("mnist"),
        batch_size=64,
        steps=12_000,
        # A step under XLA takes a third longer.
        jit_compile=False,
        optimizer=_MUON,
        schedule=CosineDecay(learning_rate=6e-3, warmup_steps=200),
        ema=0.999,
        report_every=500,
        validation_examples=500,
    ),
    "residual_flow_mnist": Recipe(
        summary="A small Residual Flow on MNIST at 32×32." + _GPU,
        model="ResidualFlow",
        arguments={
            **_SMALL,
            "coeff": 0.93,
            "alpha": 1e-6,
            "widths": [52, 52],
            "fully_connected": {"blocks": 2, "size": 110},
        },
        data=ImageData("mnist", resize=32),
        batch_size=64,
        steps=10_000,
        optimizer=_ADAM,
        schedule=CosineDecay(learning_rate=2e-3, warmup_steps=500),
        ema=0.999,
        report_every=500,
        validation_examples=500,
    ),
    "idensenet_mnist_paper": Recipe(
        summary="i-DenseNet with learnable concatenation on MNIST, as published.",
        model="idensenet_mnist",
        **_MNIST_PAPER,
    ),
    "residual_flow_mnist_paper": Recipe(
        summary="Residual Flow on MNIST, as published with i-DenseNet.",
        model="residual_flow_mnist",
        **_MNIST_PAPER,
    ),
    "idensenet_cifar10_small_paper": Recipe(
        summary="Small i-DenseNet with learnable concatenation on CIFAR-10, as published.",
        model="idensenet_cifar10_small",
        arguments=_HELD,
        **_CIFAR10_PAPER,
    ),
    "residual_flow_cifar10_small_paper": Recipe(
        summary="Small Residual Flow on CIFAR-10, as published with i-DenseNet.",
        model="residual_flow_cifar10_small",
        **_CIFAR10_PAPER,
    ),
    "idensenet_cifar10_paper": Recipe(
        summary="i-DenseNet with learnable concatenation on CIFAR-10, as published.",
        model="idensenet_cifar10",
        arguments=_HELD,
        **_CIFAR10_PAPER,
    ),
    "residual_flow_cifar10_paper": Recipe(
        summary="Residual Flow on CIFAR-10, as published.",
        model="residual_flow_cifar10",
        **_CIFAR10_PAPER,
    ),
    "idensenet_imagenet32_paper": Recipe(
        summary="i-DenseNet with learnable concatenation on ImageNet32, as published.",
        model="idensenet_imagenet32",
        data=ImageData("downsampled_imagenet/32x32", test="validation"),
        steps=400_000,  # 20 epochs
        report_every=1000,
        **_LIPSCHITZ,
    ),
}
