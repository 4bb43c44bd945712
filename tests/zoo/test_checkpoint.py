"""Import of published checkpoints, from state dicts written here under the published names."""

import json

import keras
import numpy as np
import pytest

import keras_flows as kf

DENSE = {
    "act": "CLipSwish",
    "coeff": 0.9,
    "n_lipschitz_iters": 3,
    "densenet": True,
    "densenet_depth": 2,
    "densenet_growth": 6,
    "learnable_concat": True,
    "lip_coeff": 0.98,
    "dims": "128-128",  # not used by a dense net
    "nblocks": 2,
    "actnorm": True,
    "brute_force": True,
    "n_power_series": None,
    "n_dist": "geometric",
    "neumann_grad": False,
}
PLAIN = {**DENSE, "act": "swish", "densenet": False, "dims": "5-7", "actnorm": False}


def linear(state, name, units, features, random):
    """A published spectrally normalised layer, its vectors converged."""
    weight = random.normal(size=(units, features))
    left, values, right = np.linalg.svd(weight)
    state[f"{name}.weight"], state[f"{name}.bias"] = weight, random.normal(size=units)
    state[f"{name}.scale"], state[f"{name}.u"], state[f"{name}.v"] = values[0], left[:, 0], right[0]


def dense_state(seed=0):
    """The state dict of `DENSE`, name by name."""
    random, state = np.random.default_rng(seed), {}
    for norm in (0, 2, 4):
        state[f"chain.{norm}.weight"] = random.normal(size=2) / 5
        state[f"chain.{norm}.bias"] = random.normal(size=2)
        state[f"chain.{norm}.initialized"] = np.array(1)
    for block in (1, 3):
        for i, features in enumerate((2, 8)):
            prefix = f"chain.{block}.nnet.{i}"
            state[f"{prefix}.K1_unnormalized"] = random.normal(size=1)
            state[f"{prefix}.K2_unnormalized"] = random.normal(size=1)
            linear(state, f"{prefix}.network.0", 3, features, random)
            state[f"{prefix}.network.1.swish.beta"] = random.normal(size=1)
        linear(state, f"chain.{block}.nnet.2", 2, 14, random)
        for name in ("geom_p", "lamb", "last_n_samples", "last_firmom", "last_secmom"):
            state[f"chain.{block}.{name}"] = np.zeros(1)
    return state


def plain_state(seed=0):
    """The state dict of `PLAIN`."""
    random, state = np.random.default_rng(seed), {}
    for block in (0, 1):
        for i, (features, units) in enumerate([(2, 5), (5, 7), (7, 2)]):
            state[f"chain.{block}.nnet.{2 * i}.beta"] = random.normal(size=1)
            linear(state, f"chain.{block}.nnet.{2 * i + 1}", units, features, random)
    return state


def swish(x, beta):
    return x / (1 + np.exp(-np.log1p(np.exp(beta)) * x)) / 1.1


def apply_linear(state, name, x, coeff=0.9):
    weight = state[f"{name}.weight"]
    weight = weight / max(1.0, np.linalg.norm(weight, 2) / coeff)
    return x @ weight.T + state[f"{name}.bias"]


def dense_encode(state, x):
    """What the published net of `DENSE` computes, in NumPy."""

    def actnorm(i, x):
        return (x + state[f"chain.{i}.bias"]) * np.exp(state[f"chain.{i}.weight"])

    x = actnorm(0, x)
    for block in (1, 3):
        h = x
        for i in (0, 1):
            prefix = f"chain.{block}.nnet.{i}"
            new = apply_linear(state, f"{prefix}.network.0", h)
            new = np.concatenate([new, -new], axis=1)
            new = swish(new, state[f"{prefix}.network.1.swish.beta"]) / 1.004
            k = np.array([state[f"{prefix}.K{j}_unnormalized"][0] for j in (1, 2)])
            eta = np.log1p(np.exp(k)) + 0.1
            eta *= 0.98 / np.linalg.norm(eta)
            h = np.concatenate([eta[0] * h, eta[1] * new], axis=1)
        x = actnorm(block + 1, x + apply_linear(state, f"chain.{block}.nnet.2", h))
    return x


def plain_encode(state, x):
    for block in (0, 1):
        h = x
        for i in (0, 2, 4):
            h = swish(h, state[f"chain.{block}.nnet.{i}.beta"])
            h = apply_linear(state, f"chain.{block}.nnet.{i + 1}", h)
        x = x + h
    return x


def points(n=9):
    return np.random.default_rng(7).normal(size=(n, 2))


@pytest.mark.parametrize("prefix", ["", "state/"])
def test_an_imported_dense_net_computes_what_was_published(written, prefix):
    state = dense_state()
    arrays = {prefix + name: array for name, array in state.items()}
    if prefix:
        arrays["out/z"] = np.zeros(3)  # not of the state
    flow = kf.zoo.import_checkpoint(written(arrays), DENSE, dtype="float64")
    assert type(flow) is kf.models.IDenseNet and flow.compute_dtype == "float64"
    z = flow.encode(points())
    np.testing.assert_allclose(z, dense_encode(state, points()), rtol=1e-10)
    np.testing.assert_allclose(flow.decode(z), points(), rtol=1e-9)
    block = flow.blocks[0].net.layers[0].linear.dense
    assert block.iterations == 3 and block.coeff == 0.9
    assert flow.blocks[0].net.layers[0].concatenation.learnable


def test_an_imported_plain_net_computes_what_was_published(written):
    state = plain_state()
    flow = kf.zoo.import_checkpoint(written(state), PLAIN, dtype="float64")
    assert type(flow) is kf.models.ResidualFlow
    np.testing.assert_allclose(flow.encode(points()), plain_encode(state, points()), rtol=1e-10)


def test_float32_is_the_default(written):
    state = dense_state()
    flow = kf.zoo.import_checkpoint(written(state), DENSE)
    assert {v.dtype for v in flow.trainable_variables} == {"float32"}
    expected = dense_encode(state, points())
    np.testing.assert_allclose(flow.encode(points()), expected, atol=1e-5)


def test_every_weight_is_set_and_actnorm_stays_as_it_is(written):
    state = dense_state()
    flow = kf.zoo.import_checkpoint(written(state), DENSE, dtype="float64")
    other = kf.zoo.import_checkpoint(written(dense_state(seed=1)), DENSE, dtype="float64")
    counters = ("initialized", "steps")
    for mine, theirs in zip(flow.weights, other.weights, strict=True):
        if mine.name not in (*counters, "seed_generator_state"):
            assert not np.any(np.equal(mine, theirs)), mine.path
    before = [v.numpy() for v in flow.trainable_variables]
    flow.log_prob(points(), training=True)  # would set a fresh ActNorm
    for old, new in zip(before, flow.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_norm_is_that_of_the_stored_vectors(written):
    # Vectors that have not converged: what was published divides by <u, W v> all the same.
    state, random = plain_state(), np.random.default_rng(3)
    name = "chain.0.nnet.3"
    for part in ("u", "v"):
        vector = state[f"{name}.{part}"] + random.normal(size=state[f"{name}.{part}"].size) / 5
        state[f"{name}.{part}"] = vector / np.linalg.norm(vector)
    flow = kf.zoo.import_checkpoint(written(state), PLAIN, dtype="float64")
    u, weight, v = (state[f"{name}.{part}"] for part in ("u", "weight", "v"))
    dense = flow.blocks[0].net.layers[1].dense
    np.testing.assert_allclose(dense.sigma, u @ weight @ v, rtol=1e-12)
    assert dense.sigma < 0.99 * np.linalg.norm(weight, 2)


def test_a_flow_comes_back_through_its_own_configuration(written, tmp_path):
    keras.utils.set_random_seed(0)
    flow = kf.models.IDenseNet(
        (3,), blocks=1, depth=1, growth=4, activation="leaky_lipswish", block_bound=0.9
    )
    (block,), state = flow.blocks, {}
    dense_layer, last = block.net.layers
    names = {"chain.0.nnet.0.network.0": dense_layer.linear.dense, "chain.0.nnet.1": last.dense}
    for name, dense in names.items():
        state[f"{name}.weight"] = dense.kernel.numpy().T
        for part in ("bias", "u", "v"):
            state[f"{name}.{part}"] = getattr(dense, part).numpy()
    state["chain.0.nnet.0.K1_unnormalized"] = np.array([1.0])
    state["chain.0.nnet.0.K2_unnormalized"] = np.array([1.0])
    state["chain.0.nnet.0.network.1.alpha"] = dense_layer.activation.alpha.numpy()
    state["chain.0.nnet.0.network.1.beta"] = dense_layer.activation.beta.numpy()
    config = keras.saving.serialize_keras_object(flow)
    (tmp_path / "config.json").write_text(json.dumps(config))
    for given in (config, tmp_path / "config.json", str(tmp_path / "config.json")):
        copy = kf.zoo.import_checkpoint(str(written(state)), given)
        x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
        np.testing.assert_allclose(copy.log_prob(x), flow.log_prob(x), rtol=1e-6)
        assert copy.get_config()["block_bound"] == 0.9


def test_a_prefix_of_training_on_several_devices_is_left_out(written):
    state = plain_state()
    flow = kf.zoo.import_checkpoint(
        written({f"module.{name}": array for name, array in state.items()}), PLAIN
    )
    kernel = flow.blocks[1].net.layers[0].dense.kernel
    np.testing.assert_allclose(kernel, state["chain.1.nnet.1.weight"].T, rtol=1e-6)


@pytest.mark.parametrize(("name", "layer"), [("softplus", "Softplus"), ("elu", "ELU")])
def test_activations_without_arrays(written, name, layer):
    state = {n: array for n, array in plain_state().items() if not n.endswith("beta")}
    flow = kf.zoo.import_checkpoint(written(state), {**PLAIN, "act": name})
    assert type(flow.blocks[0].net.layers[0].activation).__name__ == layer


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"n_power_series": 4}, {"neumann_grad": True}])
def test_the_log_det_is_exact_however_the_checkpoint_was_trained(written, options):
    config = {**PLAIN, "brute_force": False, **options}
    flow = kf.zoo.import_checkpoint(written(plain_state()), config)
    assert flow.likelihood == "exact"


def test_all_that_does_not_fit_is_one_error(written):
    state = plain_state()
    state["chain.0.nnet.1.weight"] = state["chain.0.nnet.1.weight"].T
    state["chain.1.nnet.9.weight"] = np.zeros((4, 2))
    state["chain.1.nnet.3.bias"][2] = np.nan
    state["chain.1.nnet.2.beta"] = np.array(["a"])
    del state["chain.0.nnet.3.u"], state["chain.1.nnet.0.beta"]
    with pytest.raises(ValueError, match="does not fit the ResidualFlow") as error:
        kf.zoo.import_checkpoint(written(state), PLAIN)
    assert sorted(map(str.strip, str(error.value).splitlines()[1:])) == [
        "NaN or infinity: chain.1.nnet.3.bias (7,)",
        "dtype: chain.1.nnet.2.beta <U1, needed numbers",
        "missing: chain.0.nnet.3.u (7,)",
        "missing: chain.1.nnet.0.beta (1,)",
        "shape: chain.0.nnet.1.weight (2, 5), needed (5, 2)",
        "unknown: chain.1.nnet.9.weight (4, 2)",
    ]


def test_files_that_cannot_be_read(written, tmp_path):
    with pytest.raises(ValueError, match=r"a \.npz, \.pt, \.pth file; got .*state\.h5"):
        kf.zoo.import_checkpoint(tmp_path / "state.h5", PLAIN)
    with pytest.raises(ValueError, match=r"There is no file .*none\.npz"):
        kf.zoo.import_checkpoint(tmp_path / "none.npz", PLAIN)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(ValueError, match=r"broken\.npz is not a readable"):
        kf.zoo.import_checkpoint(tmp_path / "broken.npz", PLAIN)
    objects = written({"chain.0.weight": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="is not a readable"):
        kf.zoo.import_checkpoint(objects, PLAIN)
    with open(tmp_path / "array.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"array\.npz is not a readable"):
        kf.zoo.import_checkpoint(tmp_path / "array.npz", PLAIN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"act": "maxmin"}, "act 'maxmin' .*CLipSwish"),
        ({"densenet": False}, "act 'CLipSwish' without densenet"),
        ({"arch": "realnvp", "batchnorm": True}, "arch 'realnvp'.*; batchnorm True"),
        ({"densenet": False, "vnorms": "2f2"}, "vnorms '2f2'"),
        ({"learn_p": True}, "learn_p True"),
        ({"kernels": "3-1-3"}, "a flow on images lacks input_size"),
        (
            {"class_name": "Sequential", "config": {}},
            "got 'Sequential'",
        ),
    ],
)
def test_configurations_that_are_not_supported(written, change, message):
    with pytest.raises(ValueError, match=message):
        kf.zoo.import_checkpoint(written(dense_state()), {**DENSE, **change})


def test_other_configurations_that_do_not_fit(written, tmp_path):
    path = written(dense_state())
    with pytest.raises(ValueError, match="needs the options of the published training script"):
        kf.zoo.import_checkpoint(path, {})
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not a JSON file"):
        kf.zoo.import_checkpoint(path, tmp_path / "config.json")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="must hold a JSON object; it holds list"):
        kf.zoo.import_checkpoint(path, tmp_path / "config.json")
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64'; got 'float16'"):
        kf.zoo.import_checkpoint(path, DENSE, dtype="float16")
    conditional = kf.models.IDenseNet((2,), blocks=1, depth=1, growth=2, context_shape=(3,))
    with pytest.raises(ValueError, match="have no context"):
        kf.zoo.import_checkpoint(path, keras.saving.serialize_keras_object(conditional))
    with pytest.raises(ValueError, match=r"unknown: transforms\.0\.chain\.1\.weight"):
        kf.zoo.import_checkpoint(written({"transforms.0.chain.1.weight": np.zeros(3)}), DENSE)
