"""What a run leaves to resume from: its recipe, its state, its history."""

import dataclasses
import json

import keras

from keras_flows.files import complete_file, read_object
from keras_flows.flow import Flow
from keras_flows.models import registry
from keras_flows.training import workers
from keras_flows.training.recipe import Recipe


def check(state, recipe, resume):
    """Checks that a run may begin, or go on from a saved state.

    Args:
        state: Path of the state, in the folder of the run.
        recipe: The recipe that is to be run.
        resume: Whether to go on from a state.

    Raises:
        ValueError: If there is a state and `resume` is not set, or that state is of another recipe
            than this one, or this one up to a restart.
    """
    if not state.exists():
        return
    if not resume:
        raise ValueError(
            f"{state} is there from a run before: resume it (--resume), or remove {state.parent}."
        )
    before = read_recipe(state.parent / "recipe.json").to_json()
    now = _first_cycles(recipe, before["steps"]).to_json()
    changed = [
        f"{key} was {before.get(key)!r} and is {now.get(key)!r}"
        for key in now | before
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise ValueError(
            f"{state} is of another recipe: {'; '.join(changed)}. Choose another output folder."
        )


def load(path):
    """The flow that a state holds, with its optimizer.

    Raises:
        ValueError: If it is none.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no plain file. Remove it to start anew.")
    try:
        flow = keras.models.load_model(path)
    except Exception as error:  # Keras raises errors of many kinds
        raise ValueError(
            f"{path} is no state of a run, or damaged: {error} Remove it to start anew."
        ) from error
    if not isinstance(flow, Flow) or not flow.compiled:
        raise ValueError(
            f"{path} holds no flow in training, but a {type(flow).__name__}. Remove it to start "
            "anew."
        )
    return flow


def share(strategy, flow, saved):
    """Gives the flow of every worker what the first has saved.

    Args:
        strategy: A `tf.distribute.Strategy` of several replicas.
        flow: The flow that was built under it, compiled.
        saved: The flow that the first worker loaded, of the same recipe; None on the others, and
            where there is no state.
    """
    with workers.lost(strategy):
        if not workers.from_first(strategy, float(saved is not None)):
            return
        variables, values = (*flow.weights, *flow.optimizer.variables), None
        if saved is not None:
            values = [v.numpy() for v in (*saved.weights, *saved.optimizer.variables)]
        workers.spread(strategy, variables, values)


def write_recipe(path, recipe):
    """Writes the recipe of a run."""
    with complete_file(path) as partial:
        partial.write_text(json.dumps(recipe.to_json(), indent=2) + "\n", encoding="utf-8")


def read_recipe(path):
    """Reads the recipe of a run, of this version or an earlier one.

    Raises:
        ValueError: If the file is missing or holds none.
    """
    try:
        content = read_object(path, "run's", ValueError)
        arguments = registry.upgraded(content["model"], content["arguments"])
        return Recipe.from_json({**content, "arguments": arguments})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not the recipe of a run ({error}). Choose another output folder."
        ) from error


def _first_cycles(recipe, steps):
    """The recipe up to a restart at that step; where there is none, the whole recipe."""
    schedule = recipe.schedule.until(steps)
    if schedule is None:
        return recipe
    return dataclasses.replace(recipe, steps=steps, schedule=schedule)


def drop_rows(path, epoch):
    """Leaves out the rows of a history that a resumed run will write again, or that were cut."""
    if not path.exists():
        return
    rows = path.read_bytes().splitlines(keepends=True)
    whole = [row for row in rows[1:] if row.endswith(b"\n")]
    kept = [row for row in whole if int(row.split(b",")[0]) < epoch]
    with complete_file(path) as partial:
        partial.write_bytes(b"".join([*rows[:1], *kept]) if kept else b"")
