"""Training recipes by name, as data: the model, what it is trained on, and how.

`keras-flows train NAME` runs one; `keras_flows.runner.train` runs one of your own.
"""

import difflib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Recipe:
    """How a flow is trained.

    Attributes:
        summary: One sentence for lists and the model card.
        model: A class in `keras_flows.models`, or a configuration for `models.from_name`.
        arguments: Its arguments, the shape of the events aside.
        data: `{"toy": name}`, fresh draws from a toy density; or `{"images": name}` with the
            options `resize`, `bits`, `flip` and `shift` of `keras_flows.data.images`, and the names
            of the splits `train` and `test` where they are not these.
        steps: Training steps.
        batch_size: Examples in a batch.
        optimizer: `class_name` in `keras.optimizers`, and its arguments.
        schedule: `class_name` and arguments of the learning rate: `CosineDecay`, from
            `learning_rate` to 0 after a linear rise over `warmup_steps`, and so again from each
            step and learning rate in `restarts`, where there are any; or
            `keras_flows.training.WarmUp`.
        jit_compile: See `Flow.compile`.
        clip_norm: The gradient is scaled down to this norm; None for no such limit.
        ema: Momentum of the average of the weights, which is what is evaluated and saved; None for
            the weights themselves.
        report_every: Steps between reports: validation, a row of the history, the learning state
            saved.
        samples_every: Reports between pictures of samples.
        validation_examples: How many test examples a report looks at.
        importance_samples: Draws of the importance-weighted bound that the final test is made with,
            for a flow whose likelihood is a lower bound; None for the bound of one draw.
        seed: Seed of the first weights, the order of the data, and the random draws of training.
    """

    summary: str
    model: str
    data: dict
    steps: int
    batch_size: int
    schedule: dict
    arguments: dict = field(default_factory=dict)
    optimizer: dict = field(default_factory=lambda: {"class_name": "Adam"})
    jit_compile: bool | str = "auto"
    clip_norm: float | None = 1.0
    ema: float | None = None
    report_every: int = 500
    samples_every: int = 10
    validation_examples: int = 1000
    importance_samples: int | None = None
    seed: int = 0


def get(name):
    """The recipe of that name.

    Raises:
        ValueError: If there is none.
    """
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(str(name), RECIPES, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"There is no recipe {name!r}.{hint} There are: {', '.join(RECIPES)}.")


# Small flows on images, for two CPU cores: squeezed first, and few channels. MNIST is resized to 32
# as in the published experiments, and both flows on it have as many parameters (579,154, and
# 578,965) and take as many steps.
_GPU = " Trained on two CPU cores; the published sizes need a GPU."
_SMALL = {"blocks": [4, 4], "squeeze_first": True, "fc_blocks": 2, "activation": "lipswish"}
_DENSE = {**_SMALL, "depth": 3, "growth": 16}
_MNIST = {"coeff": 0.93, "alpha": 1e-6}
_ON_MNIST = {
    "data": {"images": "mnist", "resize": 32},
    "batch_size": 64,
    "steps": 10_000,
    "optimizer": {"class_name": "Adam", "beta_1": 0.9, "beta_2": 0.99},
    "schedule": {"class_name": "CosineDecay", "learning_rate": 2e-3, "warmup_steps": 500},
    "ema": 0.999,
    "report_every": 500,
    "validation_examples": 500,
}

# Small DenseFlows. In as many steps Muon takes them further than Adam does.
_SMALL_DENSEFLOW = {
    "growth": 4,
    "coupling_depth": 2,
    "attention": "proper",
    "dequantizer_steps": 2,
    "dequantizer_width": 16,
    "dequantizer_depth": 2,
    "dequantizer_growth": 8,
    "dequantizer_context": 8,
}
_MUON = {"class_name": "Muon", "weight_decay": None, "adam_weight_decay": None}

# Perugachi-Diaz et al. 2021 and Chen et al. 2019. The batch size of 64 and the averages' momentum
# of 0.999 are not in the texts at hand, nor are the epochs on data other than MNIST: on CIFAR-10
# and ImageNet32 they are those of DenseFlow.
_LIPSCHITZ = {
    "batch_size": 64,
    "optimizer": {"class_name": "Adam", "beta_1": 0.9, "beta_2": 0.99},
    "schedule": {"class_name": "WarmUp", "learning_rate": 1e-3, "warmup_steps": 1000},
    "clip_norm": 1.0,
    "ema": 0.999,
}
_MNIST_PAPER = {
    **_LIPSCHITZ,
    "data": {"images": "mnist", "resize": 32},
    "steps": 187_500,  # 200 epochs
    "report_every": 625,
}
_CIFAR10_PAPER = {
    **_LIPSCHITZ,
    "data": {"images": "cifar10", "flip": True},
    "steps": 312_500,  # 400 epochs
    "report_every": 625,
}
# The concatenations learn after 25 epochs.
_HELD = {"concatenation_start": 19_531}

# Grcić et al. 2021, with their numbers of epochs. The steps of an epoch are the number of images
# over the batch size: 781.25 on CIFAR-10; 20,018 and 40,036 on ImageNet and 5,087 on CelebA are
# rounded below.
_AUGMENTED = {"flip": True, "shift": 0.04}


def _dense_flow(model, summary, data, epoch_steps, epochs, last_epochs, decay, **options):
    """A configuration of DenseFlow-74-10 by its published schedule."""
    schedule = {
        "class_name": "WarmUp",
        "learning_rate": 1e-3,
        "warmup_steps": 5000,
        "decay": decay,
        "decay_steps": epoch_steps,
        "final_rate": 2e-5,
        "final_start": round(epochs * epoch_steps),
    }
    return Recipe(
        summary=summary,
        model=model,
        data=data,
        steps=round((epochs + last_epochs) * epoch_steps),
        optimizer={"class_name": "Adamax"},
        schedule=schedule,
        clip_norm=None,
        **options,
    )


# The toy table: one recipe for all flows, so that only the models differ.
_TABLE = ("two_circles", "checkerboard", "two_moons")
_FURTHER = ("rings", "eight_gaussians", "pinwheel", "two_spirals", "swiss_roll")
_TOY_MODELS = {
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
        data={"toy": density},
        steps=4000,
        batch_size=500,
        # Its updates have one spectral norm, like the matrices they change.
        optimizer=_MUON,
        schedule={"class_name": "CosineDecay", "learning_rate": 6e-3, "warmup_steps": 200},
        clip_norm=10.0,
        validation_examples=10_000,
    )


RECIPES = {
    **{f"{p}_{density}": _toy(p, density) for density in _TABLE for p in _TOY_MODELS},
    **{f"idensenet_lc_{density}": _toy("idensenet_lc", density) for density in _FURTHER},
    "idensenet_lc_digits": Recipe(
        summary="A small i-DenseNet with learnable concatenation on 8×8 handwritten digits." + _GPU,
        model="IDenseNet",
        arguments={**_DENSE, "bits": 5},
        data={"images": "digits"},
        steps=6000,
        batch_size=64,
        optimizer={"class_name": "Adam", "beta_1": 0.9, "beta_2": 0.99},
        schedule={"class_name": "CosineDecay", "learning_rate": 2e-3, "warmup_steps": 500},
        ema=0.999,
        report_every=250,
        validation_examples=297,
    ),
    "idensenet_lc_mnist": Recipe(
        summary="A small i-DenseNet with learnable concatenation on MNIST at 32×32." + _GPU,
        model="IDenseNet",
        arguments={**_DENSE, **_MNIST},
        **_ON_MNIST,
    ),
    "residual_flow_mnist": Recipe(
        summary="A small Residual Flow on MNIST at 32×32." + _GPU,
        model="ResidualFlow",
        arguments={**_SMALL, **_MNIST, "widths": [52, 52], "fc_width": 110},
        **_ON_MNIST,
    ),
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
        data={"images": "digits"},
        batch_size=64,
        steps=2_000,
        optimizer=_MUON,
        schedule={"class_name": "CosineDecay", "learning_rate": 5e-3, "warmup_steps": 100},
        report_every=200,
        validation_examples=297,
        importance_samples=100,
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
        data={"images": "mnist"},
        batch_size=64,
        steps=28_000,
        jit_compile=True,
        optimizer=_MUON,
        schedule={
            "class_name": "CosineDecay",
            "learning_rate": 6e-3,
            "warmup_steps": 200,
            "restarts": [[10_000, 3e-3]],
        },
        report_every=500,
        validation_examples=500,
        importance_samples=100,
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
        data={"images": "downsampled_imagenet/32x32", "test": "validation"},
        steps=400_000,  # 20 epochs
        report_every=1000,
        **_LIPSCHITZ,
    ),
    "denseflow_cifar10_paper": _dense_flow(
        "denseflow_cifar10",
        "DenseFlow-74-10 on CIFAR-10, as published.",
        {"images": "cifar10", **_AUGMENTED},
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
        {"images": "downsampled_imagenet/32x32", "test": "validation", **_AUGMENTED},
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
        {"images": "downsampled_imagenet/64x64", "test": "validation", **_AUGMENTED},
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
        {"images": "celeb_a", "resize": 64, "flip": True},
        epoch_steps=5100,
        epochs=50,
        last_epochs=5,
        decay=0.95,
        batch_size=32,
        report_every=1020,
    ),
}
