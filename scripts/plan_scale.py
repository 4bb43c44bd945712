"""What the published configurations cost on 1, 8 and 64 GPUs: docs/planning.md, from counted work.

    python scripts/plan_scale.py           # the page, from the counts in docs/planning.json
    python scripts/plan_scale.py --count   # counts the graphs and times this machine anew (minutes)

Counted are the graphs of each configuration; `flops.py` says what. Everything else is an
assumption, named below and on the page.
"""

import dataclasses
import datetime
import functools
import json
import math
import platform
import time
from pathlib import Path
from typing import Annotated

import flops
import marked
import typer

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "docs/planning.json", ROOT / "docs/planning.md"
SCRIPT = "scripts/plan_scale.py"
# Configurations, and the recipes of their published schedules; None where there is no recipe.
PLANNED = {
    "denseflow_cifar10": "denseflow_cifar10_paper",
    "denseflow_imagenet32": "denseflow_imagenet32_paper",
    "denseflow_celeba": "denseflow_celeba_paper",
    "denseflow_imagenet64": "denseflow_imagenet64_paper",
    "residual_flow_cifar10": "residual_flow_cifar10_paper",
    "glow_cifar10": None,
}
# Hours of training on one GPU that were published: Grcić et al. 2021, table 5.
PUBLISHED_HOURS = {
    "denseflow_cifar10": (250, "RTX 3090"),
    "denseflow_imagenet32": (310, "V100"),
    "denseflow_celeba": (224, "V100"),
}
GPUS = (1, 8, 64)
BYTES = 4  # of a gradient, float32


@dataclasses.dataclass(frozen=True)
class Machine:
    """A GPU and how it talks to others.

    Attributes:
        name: What it is called on the page.
        peak: Operations a second that the vendor states, by the format of the products.
        bandwidth: Bytes a second to the next GPU, one way: inside of a machine of eight, and
            between machines.
        latency: Seconds of one hop of a message, in the same two cases.
    """

    name: str
    peak: float
    bandwidth: tuple[float, float]
    latency: tuple[float, float]


# The vendors' data sheets: float32 without tensor cores for the two that were published with.
PEAKS = {"RTX 3090": 35.6e12, "V100": 15.7e12}
A100 = Machine("A100, float32 without tensor cores", 19.5e12, (300e9, 25e9), (5e-6, 15e-6))


def exchange(size, gpus, machine=A100):
    """Seconds of a ring all-reduce: `2 (n - 1) / n · size / bandwidth + 2 (n - 1) · latency`.

    Source: Patarasu & Yuan 2009, *Bandwidth Optimal All-reduce Algorithms for Clusters of
    Workstations*. A ring of several machines is as fast as its slowest link.
    """
    if gpus == 1:
        return 0.0
    far = gpus > 8
    moved = 2.0 * (gpus - 1) / gpus * size / machine.bandwidth[far]
    return moved + 2.0 * (gpus - 1) * machine.latency[far]


def short_exchange(size, gpus, machine=A100):
    """Seconds of an all-reduce along a tree: `2 log2(n) (latency + size / bandwidth)`.

    That is how short messages go, where a ring would wait for n hops. Source: Sanders, Speck &
    Träff 2009, *Two-tree Algorithms for Full Bandwidth Broadcast, Reduction and Scan*.
    """
    if gpus == 1:
        return 0.0
    far = gpus > 8
    hops = 2 * math.ceil(math.log2(gpus))
    return hops * (machine.latency[far] + size / machine.bandwidth[far])


def step_seconds(counted, batch, gpus, rate):
    """`(computing, exchanging)` seconds of a step with so many examples on each GPU.

    Nothing overlaps: gradients go after the last of them is there. Every layer of batch
    normalisation exchanges its statistics, and the gradients through them, in a message of its own.
    """
    computing = batch * counted["train"] / rate
    statistics = 2 * counted["norms"] * short_exchange(counted["norm_bytes"] * gpus, gpus)
    return computing, exchange(BYTES * counted["parameters"], gpus) + statistics


def break_even(counted, gpus, rate):
    """Examples on each GPU with which a step computes as long as it exchanges."""
    _, exchanging = step_seconds(counted, 0, gpus, rate)
    return math.ceil(exchanging * rate / counted["train"])


def utilisations(configurations):
    """What part of its GPU's float32 peak each published training reached, by our count."""
    found = {}
    for name, (hours, gpu) in PUBLISHED_HOURS.items():
        if name in configurations:
            counted = configurations[name]
            work = counted["train"] * counted["batch"] * counted["steps"]
            found[name] = work / (3600.0 * hours * PEAKS[gpu])
    return found


# Counting -----------------------------------------------------------------------------------------


def counts(name, differentiate=None, **arguments):
    """What a step of a configuration takes, a dictionary; operations are for one example.

    Args:
        name: Of the configuration.
        differentiate: Whether to count the gradient in its graph, which takes minutes for a large
            flow. Otherwise it is twice what log_prob takes: every product of an input and a weight
            has two derivatives, each a product of the same size. So it is, to the last operation,
            where no block is residual; those are counted in their graph by default.
        **arguments: To change of the configuration.
    """
    import tensorflow as tf

    from keras_flows import models
    from keras_flows.noise import SeededNoise
    from keras_flows.numerics.tracing import with_functions
    from keras_flows.training.normalization import norms

    flow = models.from_name(name, **arguments)
    batch = 2  # the least that batch normalisation takes
    spec = tf.TensorSpec((batch, *flow.event_shape), flow.compute_dtype)
    variables = [weight.value for weight in flow.trainable_weights]

    def score(x):
        return flow.density(x, None, SeededNoise(0)).log_prob

    def train(x):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(flow.density(x, None, SeededNoise(0), True).log_prob)
        return [g for g in tape.gradient(loss, variables) if g is not None]

    def counted_in(function, mode):
        traced = tf.function(function, autograph=False)
        with with_functions():
            graph = traced.get_concrete_function(spec).graph
        return flops.count(graph, _terms(flow, mode)) / batch

    counted = {"score": counted_in(score, 1)}
    if differentiate is None:
        differentiate = bool(flow.blocks)
    counted["train"] = counted_in(train, 0) if differentiate else 3.0 * counted["score"]
    layers = norms(flow)
    channels = [layer.moving_mean.shape[0] for layer in layers]
    counted["parameters"] = sum(math.prod(weight.shape) for weight in flow.trainable_weights)
    counted["norms"] = len(layers)
    counted["norm_bytes"] = round(3 * BYTES * sum(channels) / len(layers)) if layers else 0
    return counted


def schedule(name):
    """The batch and the number of steps that a configuration was published with, or None twice."""
    from keras_flows.models import registry

    recipe = PLANNED[name] and registry.recipe(PLANNED[name])
    return {
        "batch": recipe.batch_size if recipe else None,
        "steps": recipe.steps if recipe else None,
    }


def recount(names, found):
    """The configurations of a result with some of them counted anew, in the order of the page."""
    from keras_flows.models import registry

    made = []  # what was counted: some configurations differ in their data only
    for name in names:
        same = (
            c
            for other, c in made
            if registry.CONFIGURATIONS[other] == registry.CONFIGURATIONS[name]
        )
        counted = next(same, None) or counts(name)
        made.append((name, counted))
        found[name] = {**counted, **schedule(name)}
        print(name, found[name], flush=True)
    return {name: found[name] for name in PLANNED if name in found}


def _terms(flow, mode):
    """The terms of the power series of a residual flow, on average: training 0, evaluation 1."""
    if not flow.blocks or not hasattr(flow.blocks[0].log_det, "tail_probabilities"):
        return 1.0
    estimator = flow.blocks[0].log_det
    return float(estimator.exact_terms[mode] + estimator.tail_probabilities()[1:].sum())


def this_machine():
    """Operations a second of one core of this machine, in a training step and in plain products."""
    import numpy as np
    import tensorflow as tf

    from keras_flows import zoo

    tf.config.threading.set_intra_op_parallelism_threads(1)
    a = tf.constant(np.random.default_rng(0).standard_normal((1000, 1000)), tf.float32)
    times = []
    for _ in range(6):
        began = time.process_time()
        tf.matmul(a, a).numpy()
        times.append(time.process_time() - began)
    product = 2e9 / min(times)
    flow = zoo.load("denseflow_digits")
    flow.compile("sgd", jit_compile=False)
    x = np.zeros((64, *flow.event_shape), "float32")
    flow.train_on_batch(x)
    times = []
    for _ in range(5):
        began = time.process_time()
        flow.train_on_batch(x)
        times.append(time.process_time() - began)
    variables = [weight.value for weight in flow.trainable_weights]

    def train(x):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(flow.log_prob(x, seed=0, training=True))
        return [g for g in tape.gradient(loss, variables) if g is not None]

    spec = tf.TensorSpec(x.shape, tf.float32)
    graph = tf.function(train, autograph=False).get_concrete_function(spec).graph
    return {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "product": product,
        "train": flops.count(graph) / min(times),
    }


# The page -----------------------------------------------------------------------------------------


def page(results):
    """The generated part of the page."""
    configurations = results["configurations"]
    used = utilisations(configurations)
    parts = min(used.values()), max(used.values())
    slow, fast = (part * A100.peak for part in parts)
    return "\n\n".join(
        [
            f"Counted on {results['date']}.",
            _work(configurations),
            _used(used, configurations),
            _assumed(results, parts),
            _hours(configurations, slow, fast),
            _exchange(configurations, fast),
        ]
    )


def _table(columns, rows):
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _work(configurations):
    columns = [
        "configuration",
        "parameters",
        "training step, GFLOP an image",
        "log_prob, GFLOP an image",
        "layers of batch normalisation",
    ]
    rows = [
        [
            f"`{name}`",
            f"{c['parameters']:,}",
            f"{c['train'] / 1e9:.1f}",
            f"{c['score'] / 1e9:.1f}",
            c["norms"],
        ]
        for name, c in configurations.items()
    ]
    return f"## Work\n\n{_table(columns, rows)}"


def _used(used, configurations):
    columns = ["configuration", "published", "our count of all of it", "part of the float32 peak"]
    rows = []
    for name, part in used.items():
        hours, gpu = PUBLISHED_HOURS[name]
        counted = configurations[name]
        work = counted["train"] * counted["batch"] * counted["steps"]
        rows.append([f"`{name}`", f"{hours} h, {gpu}", f"{work / 1e18:.1f} EFLOP", f"{part:.0%}"])
    return f"## What the published hours say\n\n{_table(columns, rows)}"


def _assumed(results, parts):
    here = results["here"]
    near, far = (b / 1e9 for b in A100.bandwidth)
    one, other = (1e6 * seconds for seconds in A100.latency)
    own, product = here["train"], here["product"]
    return f"""## What is assumed

* A GPU of {A100.peak / 1e12:.1f} TFLOP/s ({A100.name}), of which a step reaches from
  {parts[0]:.0%} to {parts[1]:.0%}, the least and the largest of the parts above:
  {parts[0] * A100.peak / 1e12:.1f} to {parts[1] * A100.peak / 1e12:.1f} TFLOP/s. TensorFloat-32 and
  bfloat16 are faster, and not counted on. On another GPU all hours go with its rate.
* Eight GPUs in a machine, {near:.0f} GB/s one way and {one:.0f} µs a hop between two of them;
  {far:.0f} GB/s and {other:.0f} µs between machines. A ring all-reduce of S bytes by n GPUs takes
  `2 (n - 1) / n · S / bandwidth + 2 (n - 1) · latency` (Patarasu and Yuan 2009), and nothing of it
  overlaps with the computation. The statistics of batch normalisation, and the gradients through
  them, go along a tree, `2 log2(n) (latency + S / bandwidth)` for each layer (Sanders, Speck and
  Träff 2009).
* The batch of the recipe stays on every GPU, so that n of them see n times the examples in a step,
  and as many epochs. Whether a learning rate serves n times the batch is not said here.
* Reading and decoding the data keeps up. Reports, tests and saving are left out.

For comparison, one core of the machine that counted ({here["machine"]}) does
{product / 1e9:.0f} GFLOP/s in a plain product, and {own / 1e9:.0f} in a training step of
`denseflow_digits`, {own / product:.0%} of that."""


def _hours(configurations, slow, fast):
    def between(one, other, of):
        return f"{of(one):,.0f} to {of(other):,.0f}"

    hours, scored = [], []
    for name, counted in configurations.items():
        if counted["steps"]:
            of = [between(fast, slow, functools.partial(training_hours, counted, n)) for n in GPUS]
            hours.append([f"`{name}`", f"{counted['steps']:,} × {counted['batch']}", *of])
        of = [between(slow, fast, lambda rate, n=n, c=counted: n * rate / c["score"]) for n in GPUS]
        scored.append([f"`{name}`", *of])
    columns = [f"on {n} GPU{'s' * (n > 1)}" for n in GPUS]
    return (
        "## Hours to train as published\n\n"
        f"{_table(['configuration', 'steps × batch', *columns], hours)}\n\n"
        "## Images scored a second\n\n"
        f"{_table(['configuration', *columns], scored)}\n\n"
        "Scoring needs no exchange. A log_prob of one draw is counted; an importance-weighted one "
        "of k draws takes k times as long."
    )


def training_hours(counted, gpus, rate):
    """Hours of the published number of epochs with the published batch on every GPU."""
    steps = counted["steps"] / gpus
    return steps * sum(step_seconds(counted, counted["batch"], gpus, rate)) / 3600.0


def _exchange(configurations, rate):
    some = GPUS[1:]
    columns = ["configuration", "batch on a GPU"]
    for gpus in some:
        columns += [f"exchange on {gpus}, ms", f"part of a step on {gpus}", f"break-even on {gpus}"]
    rows = []
    for name, counted in configurations.items():
        if not counted["batch"]:
            continue
        row = [f"`{name}`", counted["batch"]]
        for gpus in some:
            computing, exchanging = step_seconds(counted, counted["batch"], gpus, rate)
            part = exchanging / (computing + exchanging)
            even = break_even(counted, gpus, rate)
            row += [f"{1e3 * exchanging:.1f}", f"{part:.1%}", f"{even:,}"]
        rows.append(row)
    return (
        f"## What data parallelism costs\n\n{_table(columns, rows)}\n\n"
        "With the fastest of the rates above, for which the exchange weighs most. Break-even is "
        "the number of images on each GPU with which a step exchanges as long as it computes: with "
        "fewer, more than half of the time is waiting."
    )


def main(
    count: Annotated[
        bool, typer.Option(help="Count the graphs and time this machine anew")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="Count these alone")] = None,
):
    """Writes docs/planning.md from docs/planning.json."""
    if count or only:
        old = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        results = {
            "date": f"{datetime.date.today()}",
            "configurations": recount(only or PLANNED, old.get("configurations", {})),
            "here": this_machine(),
        }
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    marked.update(PAGE, SCRIPT, page(results))


if __name__ == "__main__":
    typer.run(main)
