"""How a flow is trained, as data."""

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
