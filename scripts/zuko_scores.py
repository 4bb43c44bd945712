"""Zuko's neural spline flow on given rows; runs in the environment that has zuko and PyTorch.

    python zuko_scores.py ROWS.npz SETTINGS.json SCORES.npz

ROWS has `train`, `validation` and `test`; SETTINGS those of `keras_flows.fitting` with
`parameters`, the number to come close to, and `integers`, the columns of whole numbers, which get
uniform noise.
The training is that of `keras_flows.fit`: standardised columns, the same batches, steps, schedule
and patience, the best weights by the validation rows. Written are the log_prob of every test row in
the units of the rows, the number of parameters, and the seconds.
"""

import copy
import json
import math
import sys
import time

import numpy as np
import torch
import zuko


def flow_of(features, parameters):
    """The flow whose number of parameters is closest: zuko's defaults, but for the width."""

    def made(width):
        return zuko.flows.NSF(features, transforms=3, bins=8, hidden_features=(width, width))

    def count(flow):
        return sum(p.numel() for p in flow.parameters() if p.requires_grad)

    flow = min(map(made, range(8, 321, 4)), key=lambda flow: abs(count(flow) - parameters))
    return flow, count(flow)


def main(rows, settings, scores):
    rows = np.load(rows)
    with open(settings) as file:
        settings = json.load(file)
    begin = time.perf_counter()
    torch.manual_seed(settings["seed"])
    torch.set_num_threads(2)
    rng = np.random.default_rng(settings["seed"])
    integers = np.array(settings["integers"], bool)
    mean = rows["train"].mean(axis=0) + 0.5 * integers
    scale = rows["train"].std(axis=0)

    def prepared(x):
        x = x + integers * rng.uniform(size=x.shape)
        return torch.tensor((x - mean) / scale, dtype=torch.float32)

    train, steps = rows["train"], settings["steps"]
    validation, test = prepared(rows["validation"]), prepared(rows["test"])
    flow, parameters = flow_of(train.shape[1], settings["parameters"])
    optimizer = torch.optim.Adam(flow.parameters(), lr=settings["learning_rate"])
    warm_up = max(1, steps // 20)

    def rate(step):
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    best, weights, bad, order = math.inf, None, 0, np.array([], int)
    for step in range(1, steps + 1):
        while len(order) < settings["batch_size"]:
            order = np.concatenate([order, rng.permutation(len(train))])
        chosen, order = order[: settings["batch_size"]], order[settings["batch_size"] :]
        loss = -flow().log_prob(prepared(train[chosen])).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), settings["clip_norm"])
        optimizer.step()
        schedule.step()
        if step % settings["report_every"] == 0 or step == steps:
            with torch.no_grad():
                now = -flow().log_prob(validation).mean().item()
            bad = 0 if now < best else bad + 1
            if now < best:
                best, weights = now, copy.deepcopy(flow.state_dict())
            if bad >= settings["patience"]:
                break
    flow.load_state_dict(weights)
    with torch.no_grad():
        log_prob = flow().log_prob(test).numpy().astype("float64") - np.log(scale).sum()
    seconds = time.perf_counter() - begin
    np.savez(scores, log_prob=log_prob, parameters=parameters, seconds=seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
