"""ONNX files predict what the model predicts, by onnxruntime; layers without a form are named. `pytest -m peers`."""

import exchange_models
import numpy as np
import pytest

import nnfast
from nnfast import layers
from nnfast.models.onnx_export import _FORMS, OPSET

pytestmark = pytest.mark.peers
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

OTHER = {"ReLU", "Embedding mask"}  # one has a threshold, one ends in an LSTM: without a form
FORMS = [n for n in exchange_models.MODELS if n.split()[0] in _FORMS and n not in OTHER]


def run(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    xs = x if isinstance(x, list) else [x]
    return session.run(None, {i.name: v for i, v in zip(session.get_inputs(), xs)})


def agree(model, x, path):
    model.export_onnx(path)
    assert onnx.load(path).opset_import[0].version == OPSET
    expected = model.predict(x, verbose=0)
    found = run(path, x)
    expected = expected if isinstance(expected, list) else [expected]
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * max(1.0, abs(b).max()))


@pytest.mark.parametrize("name", [*FORMS, "Model shared", "Sequential nested"])
def test_models(name, tmp_path):
    model = exchange_models.build(name, nnfast)
    agree(model, exchange_models.inputs(model), str(tmp_path / "m.onnx"))


@pytest.mark.parametrize(
    "name", ["gelu", "mish", "silu", "relu6", "hard_sigmoid", "leaky_relu", "exponential", "log_softmax"]
)
def test_activations(name, tmp_path):
    model = nnfast.Sequential([nnfast.Input((7,)), layers.Activation(name), layers.Dense(3, name)])
    agree(model, np.linspace(-4, 1, 28, dtype="f").reshape(4, 7), str(tmp_path / "m.onnx"))


def test_channels_first_and_integers(tmp_path):
    model = nnfast.Sequential(
        [
            nnfast.Input((2, 9, 8), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, strides=2, padding="same", data_format="channels_first", activation="relu"),
            layers.ReLU(6.0, negative_slope=0.1),
            layers.MaxPooling2D(data_format="channels_first"),
            layers.GlobalMaxPooling2D(data_format="channels_first"),
        ]
    )
    x = np.random.default_rng(0).integers(0, 256, (3, 2, 9, 8)).astype("uint8")
    agree(model, x, str(tmp_path / "m.onnx"))


@pytest.mark.parametrize(
    "layer", [lambda: layers.LSTM(2, name="memory"), lambda: layers.ReLU(threshold=1.0, name="memory")]
)
def test_a_layer_without_a_form_is_named(layer, tmp_path):
    model = nnfast.Sequential([nnfast.Input((5, 4)), layer()])
    with pytest.raises(NotImplementedError, match=r"'memory' \((LSTM|ReLU)\)"):
        model.export_onnx(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_built(tmp_path):
    with pytest.raises(ValueError, match="not known"):
        nnfast.Sequential([layers.Dense(2)]).export_onnx(tmp_path / "m.onnx")
