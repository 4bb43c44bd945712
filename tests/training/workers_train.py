"""`keras-flows train tiny …` with a recipe of a few steps; test_workers.py starts it.

    python workers_train.py KILL_AT ARGUMENT ...

The process kills itself after step KILL_AT, never where that is 0.
"""

import os
import signal
import sys

at = int(sys.argv.pop(1))


def main():
    """Does what the module says."""
    import keras

    import keras_flows as kf
    from keras_flows.cli.app import app
    from keras_flows.models import registry
    from keras_flows.training import run, sources
    from keras_flows.training.recipe import Recipe, ToyData, WarmUp

    class Kill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations.numpy()) == at:
                os.kill(os.getpid(), signal.SIGKILL)

    fit = kf.Flow.fit

    def fit_and_kill(self, *arguments, callbacks=(), **keywords):
        return fit(self, *arguments, callbacks=[*callbacks, Kill()], **keywords)

    kf.Flow.fit = fit_and_kill
    run.SAVE_MINUTES, sources.TEST_POINTS = 0.0, 1000
    registry.RECIPES["tiny"] = Recipe(
        summary="A few steps.",
        model="IDenseNet",
        arguments={"blocks": 1, "depth": 1, "growth": 4, "actnorm": True, "dtype": "float64"},
        data=ToyData("two_moons"),
        steps=12,
        batch_size=30,
        schedule=WarmUp(0.01, 10),
        ema=0.8,
        report_every=3,
        validation_examples=20,
    )
    app()


if __name__ == "__main__":
    main()
