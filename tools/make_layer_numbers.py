"""Writes tests/data/layer_numbers.json: what the layers of Keras compute on the inputs of tests/layer_cases.py.

    KERAS_BACKEND=torch python tools/make_layer_numbers.py

Needs Keras with a backend. The everyday tests hold nnfast's layers to these numbers.
"""

import json
import sys
from pathlib import Path

import keras

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from layer_cases import CASES, some, wave, weights  # noqa: E402


def numbers(name, shape, options):
    """Shape of the output for two samples, and some of its numbers."""
    layer = getattr(keras.layers, name)(**options)
    layer.build((None, *shape))
    layer.set_weights(weights([(w.name, w.shape) for w in layer.weights]))
    y = keras.ops.convert_to_numpy(layer(wave((2, *shape))))
    return {"shape": y.shape, "numbers": [float(f"{v:.7g}") for v in some(y)]}


def main():
    target = ROOT / "tests" / "data" / "layer_numbers.json"
    target.parent.mkdir(exist_ok=True)
    lines = [f"{json.dumps(str(case))}: {json.dumps(numbers(*case))}" for case in CASES]
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
