"""How numbers are written in text files."""

import numpy as np

from keras_flows.data import tables


def test_numbers_are_written_by_the_shortest_decimal(tmp_path):
    path = tmp_path / "table.csv"
    p_values = np.arange(1, 1001) / 1001
    columns = {
        "score": np.array([0.1, -7.25, 1e20, np.inf, 123456.0], np.float32),
        "p_value": np.array([0.1, 1 / 3, 1e-300, 0.0, p_values[4]]),
        "flag": np.array([True, False, True, False, True]),
        "n": np.array([1, -2, 3, 2**62, 5]),
    }
    tables.write(path, columns)
    rows = path.read_text(encoding="utf-8").splitlines()
    assert rows == [
        "score,p_value,flag,n",
        "0.1,0.1,1,1",
        "-7.25,0.3333333333333333,0,-2",
        "1e+20,1e-300,1,3",
        f"inf,0,0,{2**62}",
        "123456,0.004995004995004995,1,5",
    ]
    # No p-value loses its last bit, and none has a digit too many.
    tables.write(path, {"p_value": p_values})
    texts = path.read_text(encoding="utf-8").splitlines()[1:]
    assert [float(text) for text in texts] == p_values.tolist()
    for value, text in zip(p_values, texts, strict=True):
        digits = len(text.lstrip("0."))
        assert text == "1" or float(f"{value:.{digits - 1}g}") != value
