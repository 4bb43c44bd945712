"""The check of a GPU, tried on the CPU: what agrees passes, what does not is seen."""

import pytest
import tensorflow as tf

from keras_flows.models import registry


def test_every_family_is_checked(script):
    assert script("check_gpu").CASES.keys() == registry.MODELS.keys()


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_without_a_gpu_nothing_is_checked(script, capsys):
    script("check_gpu").main()
    assert "nothing checked" in capsys.readouterr().out


@pytest.fixture
def check(script, monkeypatch):
    """The script, with a small flow."""
    module = script("check_gpu")
    small = (3,), {"layers": 2, "width": 4, "blocks": 1}
    monkeypatch.setitem(module.CASES, "RealNVP", small)
    return module


@pytest.mark.slow
def test_the_cpu_agrees_with_itself(check, capsys):
    check.main(["RealNVP"], batch_size=8, device="CPU:0")
    out = capsys.readouterr().out
    assert "all agree" in out and "RealNVP" in out


@pytest.mark.slow
@pytest.mark.parametrize("field", ["log_prob", "losses", "change"])
def test_a_device_that_computes_otherwise_is_seen(check, monkeypatch, capsys, field):
    right, calls = check.numbers, []

    def wrong(flow, x, device):
        calls.append(device)
        found = right(flow, x, device)
        if len(calls) == 2:  # the first is the CPU's
            value = getattr(found, field)
            value.flat[0] += 0.01 * abs(value).max()
        return found

    monkeypatch.setattr(check, "numbers", wrong)
    with pytest.raises(SystemExit) as ended:
        check.main(["RealNVP"], batch_size=8, device="CPU:0")
    assert ended.value.code == 1
    assert f"RealNVP: {field} differs from the CPU's by" in capsys.readouterr().out


@pytest.mark.slow
def test_a_step_that_fails_is_seen(check, monkeypatch, capsys):
    def fails(*_):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(check, "numbers", fails)
    with pytest.raises(SystemExit) as ended:
        check.main(["RealNVP"], batch_size=8, device="CPU:0")
    assert ended.value.code == 1
    assert "RealNVP: RuntimeError" in capsys.readouterr().out
