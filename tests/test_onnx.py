"""ONNX files predict what the model predicts, by onnxruntime; layers without a form are named. `pytest -m peers`."""

import exchange_models
import numpy as np
import pytest

import nnfast
from nnfast import layers
from nnfast.models.onnx_export import FORMS, OPSET

pytestmark = pytest.mark.peers
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


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


@pytest.mark.parametrize("name", [n for n in exchange_models.MODELS if n != "Model of operations"])
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


def one(shape, *stack, dtype="float32"):
    return nnfast.Sequential([nnfast.Input(shape, dtype=dtype), *stack])


def sentences():
    """Words, 0 for none: at the end, in front, in the middle, everywhere."""
    x = np.random.default_rng(5).integers(1, 11, (6, 7)).astype("int32")
    x[1, 4:], x[2, :3], x[3, [0, 2, 5]], x[4] = 0, 0, 0, 0
    return x


RECURRENT = {
    "SimpleRNN": lambda **o: layers.SimpleRNN(3, **o),
    "SimpleRNN relu": lambda **o: layers.SimpleRNN(3, activation="relu", use_bias=False, **o),
    "LSTM": lambda **o: layers.LSTM(3, **o),
    "LSTM activations": lambda **o: layers.LSTM(3, "softsign", "hard_sigmoid", bias_initializer="uniform", **o),
    "LSTM linear": lambda **o: layers.LSTM(3, "linear", "elu", use_bias=False, **o),
    "GRU": lambda **o: layers.GRU(3, bias_initializer="uniform", **o),
    "GRU reset before": lambda **o: layers.GRU(3, reset_after=False, bias_initializer="uniform", **o),
    "GRU activations": lambda **o: layers.GRU(3, "leaky_relu", "hard_sigmoid", **o),
}


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_recurrent_layers_with_any_mask(name, sequences, backwards, tmp_path):
    options = {"return_sequences": sequences, "go_backwards": backwards}
    for mask in (False, True):
        model = one((None,), layers.Embedding(11, 4, mask_zero=mask), RECURRENT[name](**options), dtype="int32")
        agree(model, sentences(), str(tmp_path / "m.onnx"))


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize("mask", [False, True])
def test_states_go_from_layer_to_layer(name, mask, tmp_path):
    """An encoder and a decoder that begins where it ends; the decoder's steps are masked in front too."""
    a, b = nnfast.Input((7,), dtype="int32"), nnfast.Input((7,), dtype="int32")
    words = layers.Embedding(11, 4, mask_zero=mask)
    _, *states = RECURRENT[name](return_state=True)(words(a))
    y, *ends = RECURRENT[name](return_sequences=True, return_state=True)(words(b), initial_state=states)
    agree(nnfast.Model([a, b], [y, *ends]), [sentences(), sentences()[::-1].copy()], str(tmp_path / "m.onnx"))


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("sequences", [False, True])
def test_both_directions(mode, sequences, tmp_path):
    x = nnfast.Input((7,), dtype="int32")
    half = layers.GRU(3, return_sequences=sequences, return_state=True)
    y = layers.Bidirectional(half, merge_mode=mode)(layers.Embedding(11, 4, mask_zero=True)(x))
    agree(nnfast.Model(x, list(y)), sentences(), str(tmp_path / "m.onnx"))


def test_masks_go_through_layers(tmp_path):
    """Through dropout, a second layer, wrappers and merges, to the mean of the steps that count."""
    x, f = nnfast.Input((7,), dtype="int32"), nnfast.Input((7, 4))
    words = layers.Dropout(0.5)(layers.Embedding(11, 4, mask_zero=True)(x))
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(words)
    y = layers.TimeDistributed(layers.Dense(4, "relu"))(layers.LayerNormalization()(y))
    z = layers.Masking(1.0)(f)
    outputs = [
        layers.GRU(2)(layers.Add()([y, z])),
        layers.GRU(2)(layers.Concatenate()([y, z])),
        layers.GRU(2)(layers.Concatenate()([y, f])),
        layers.GRU(2)(layers.Concatenate(axis=1)([y, z])),
        layers.GRU(2)(layers.Maximum()([y, f])),
        layers.GRU(2)(layers.BatchNormalization()(y)),
        layers.GlobalAveragePooling1D()(y),
        layers.GlobalAveragePooling1D(keepdims=True)(z),
        layers.Flatten()(y),
    ]
    features = np.random.default_rng(1).normal(size=(6, 7, 4)).astype("f")
    features[0, 5:], features[4, :2], features[1, :, 0] = 1.0, 1.0, 1.0
    ids = sentences()
    ids[4, 3] = 1  # a mean of nothing is NaN
    with pytest.warns(UserWarning, match="(Flatten|GlobalAveragePooling1D) does not support masks"):
        agree(nnfast.Model([x, f], outputs), [ids, features], str(tmp_path / "m.onnx"))


def test_layers_inside_time_distributed(tmp_path):
    inner = nnfast.Sequential([nnfast.Input((6, 5, 2)), layers.Conv2D(3, 2), layers.GlobalMaxPooling2D()])
    model = one((4, 6, 5, 2), layers.TimeDistributed(inner), layers.TimeDistributed(layers.Rescaling(2.0)))
    agree(model, np.random.default_rng(0).normal(size=(3, 4, 6, 5, 2)).astype("f"), str(tmp_path / "m.onnx"))


ATTENTION = {
    "plain": ({}, {}),
    "scaled": ({"use_scale": True}, {}),
    "concat": ({"score_mode": "concat", "use_scale": True}, {"return_attention_scores": True}),
    "causal": ({}, {"use_causal_mask": True}),
    "scores": ({}, {"return_attention_scores": True, "use_causal_mask": True}),
}
HEADS = {
    "plain": ({}, {}),
    "value_dim": ({"value_dim": 5, "use_bias": False, "output_shape": 6}, {}),
    "two outputs": ({"output_shape": (2, 3)}, {"return_attention_scores": True}),
    "causal": ({"use_gate": True}, {"use_causal_mask": True}),
    "window": ({"sliding_window": 2}, {}),
}


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("third", [False, True])
@pytest.mark.parametrize("name", [*(f"Attention {n}" for n in ATTENTION), *(f"MultiHead {n}" for n in HEADS)])
def test_attention(name, mask, third, tmp_path):
    kind, which = name.split(" ", 1)
    options, called = (ATTENTION if kind == "Attention" else HEADS)[which]
    a, b = nnfast.Input((7,), dtype="int32"), nnfast.Input((7,), dtype="int32")
    words = layers.Embedding(11, 4, mask_zero=mask)
    inputs = [words(a), words(b), *([layers.Dense(4)(words(b))] if third else [])]
    if kind == "Attention":
        y = layers.Attention(**options)(inputs, **called)
    else:
        names = dict(zip(("query", "value", "key"), inputs))
        y = layers.MultiHeadAttention(2, 3, **options)(**dict(reversed(names.items())), **called)
    model = nnfast.Model([a, b], list(y) if isinstance(y, (list, tuple)) else y)
    model.set_weights([np.random.default_rng(0).normal(size=w.shape).astype("f") for w in model.get_weights()])
    agree(model, [sentences(), sentences()[::-1].copy()], str(tmp_path / "m.onnx"))


def test_attention_with_a_mask_of_its_own(tmp_path):
    x, mask = nnfast.Input((5, 4)), nnfast.Input((5, 5), dtype="bool")
    y = layers.MultiHeadAttention(2, 3)(layers.Masking()(x), x, attention_mask=mask)
    rng = np.random.default_rng(2)
    data = [rng.normal(size=(3, 5, 4)).astype("f"), rng.uniform(size=(3, 5, 5)) < 0.5]
    data[0][0, 2] = 0
    agree(nnfast.Model([x, mask], y), data, str(tmp_path / "m.onnx"))


IMAGES = {
    f"Conv2DTranspose {n}": lambda o=o: layers.Conv2DTranspose(3, bias_initializer="uniform", **o)
    for n, o in {
        "valid": {"kernel_size": 3},
        "stride above kernel": {"kernel_size": 2, "strides": 3},
        "same": {"kernel_size": (3, 4), "strides": 2, "padding": "same", "activation": "relu"},
        "same, stride above kernel": {"kernel_size": 1, "strides": 2, "padding": "same"},
        "output_padding": {"kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 1},
        "dilated": {"kernel_size": 2, "dilation_rate": 2},
    }.items()
} | {
    "SeparableConv2D": lambda: layers.SeparableConv2D(3, 3, 2, depth_multiplier=2, use_bias=False, activation="elu"),
    "UpSampling2D": lambda: layers.UpSampling2D((3, 2)),
    "UpSampling2D bilinear": lambda: layers.UpSampling2D((3, 2), interpolation="bilinear"),
    "Cropping2D": lambda: layers.Cropping2D(((1, 0), (0, 2))),
}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("name", IMAGES)
def test_images(name, data_format, tmp_path):
    layer = IMAGES[name]()
    layer.data_format = data_format
    model = one((5, 6, 4), layer)
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype("f")
    agree(model, x, str(tmp_path / "m.onnx"))


def test_normalization_and_dot(tmp_path):
    a, b = nnfast.Input((5, 4)), nnfast.Input((4, 6))
    x = [np.random.default_rng(i).normal(3, 2, (7, *s)).astype("f") for i, s in enumerate([(5, 4), (4, 6)])]
    outputs = []
    for axis in (-1, None, (1, 2)):
        layer = layers.Normalization(axis)
        layer.adapt(x[0])
        outputs.append(layer(a))
    outputs.append(layers.Normalization(mean=2.0, variance=4.0, invert=True)(a))
    outputs.append(layers.Dot((2, 1))([a, b]))
    outputs.append(layers.Dot((-1, -2), normalize=True)([a, b]))
    outputs.append(layers.Dot(1)([layers.Flatten()(a), layers.Flatten()(a)]))
    agree(nnfast.Model([a, b], outputs), x, str(tmp_path / "m.onnx"))


def test_relu_in_general(tmp_path):
    x = np.linspace(-3, 3, 28, dtype="f").reshape(4, 7)
    for how in ({"threshold": 1.0}, {"threshold": 0.5, "negative_slope": 0.2}, {"threshold": 0.5, "max_value": 2.0}):
        agree(one((7,), layers.ReLU(**how)), x, str(tmp_path / "m.onnx"))


def test_arithmetic_on_symbolic_tensors(tmp_path):
    ops = nnfast.ops
    a, b = nnfast.Input((5, 4)), nnfast.Input((5, 4))
    rest = a + layers.Dense(4)(a)
    outputs = [
        rest,
        1 - rest / 2,
        2.0**b * np.arange(4.0, dtype="f"),
        a @ ops.relu(layers.Permute((2, 1))(b)),
        ops.maximum(-abs(a), ops.log(ops.sqrt(ops.exp(b)))),
        ops.minimum(layers.Flatten()(a), 0.5) + np.ones((1, 20), "f"),
    ]
    x = [np.random.default_rng(i).normal(size=(3, 5, 4)).astype("f") for i in range(2)]
    agree(nnfast.Model([a, b], outputs), x, str(tmp_path / "m.onnx"))


def test_an_operation_without_a_form_is_named(tmp_path):
    a, i = nnfast.Input((5,)), nnfast.Input((5,), dtype="int32")
    for made in (nnfast.ops.sum(a, axis=1), i + 1, nnfast.ops.where(a > 0, a, 0.0)):
        with pytest.raises(NotImplementedError, match=r"has no ONNX form here: but Absolute, Add, .* of floats"):
            nnfast.Model([a, i], made).export_onnx(tmp_path / "m.onnx")


WITHOUT = {
    "a state that is kept": lambda: [layers.LSTM(2, stateful=True, name="memory")],
    "an activation": lambda: [layers.LSTM(2, "gelu", name="memory")],
    "a function": lambda: [layers.Lambda(lambda x: x, output_shape=(5, 4), name="memory")],
    "masked steps": lambda: [layers.Masking(), layers.Softmax(name="memory")],
    "masked steps, multiplied": lambda: [layers.Masking(), layers.TimeDistributed(layers.Softmax(), name="memory")],
}


@pytest.mark.parametrize("name", WITHOUT)
def test_a_layer_without_a_form_is_named(name, tmp_path):
    model = nnfast.Sequential([nnfast.Input((5, 4), batch_size=2), *WITHOUT[name]()])
    with pytest.raises(NotImplementedError, match=r"'memory' \((LSTM|Lambda|Softmax|TimeDistributed)\)"):
        model.export_onnx(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_every_layer_of_the_table_has_a_form():
    """All that Keras's files are exchanged for."""
    kinds = {n.split()[0] for n in exchange_models.MODELS} - {"Model", "Sequential"}
    assert kinds <= set(FORMS)


def test_a_model_that_is_not_built(tmp_path):
    with pytest.raises(ValueError, match="not known"):
        nnfast.Sequential([layers.Dense(2)]).export_onnx(tmp_path / "m.onnx")
