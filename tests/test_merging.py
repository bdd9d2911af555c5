"""Layers that merge inputs, Lambda and InputSpec."""

import numpy as np
import pytest
from compare import assert_close

import nnfast
from nnfast import Input, Model, layers, ops

FORMULAS = {
    "Add": lambda a, b, c: a + b + c,
    "Multiply": lambda a, b, c: a * b * c,
    "Average": lambda a, b, c: (a + b + c) / 3,
    "Maximum": lambda a, b, c: np.maximum(np.maximum(a, b), c),
    "Minimum": lambda a, b, c: np.minimum(np.minimum(a, b), c),
}


def data(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("shapes", [[(3, 4)] * 3, [(3, 4), (1, 4), (4,)], [(2, 3, 4), (3, 4), (4,)]], ids=str)
def test_element_by_element(name, shapes, device):
    arrays = [data(5, *s, seed=i) for i, s in enumerate(shapes)]
    layer = getattr(layers, name)()
    y = layer(arrays)
    rank = max(map(len, shapes))
    same = [a.reshape(5, *(1,) * (rank - a.ndim + 1), *a.shape[1:]) for a in arrays]
    assert_close(y.numpy(), FORMULAS[name](*same), scale=4)
    assert layer.compute_output_shape([(None, *s) for s in shapes]) == (None, *y.shape[1:])
    symbolic = getattr(layers, name.lower())([Input(s) for s in shapes])
    assert symbolic.shape == (None, *y.shape[1:])


def test_subtract_and_its_gradient(device):
    a, b = nnfast.Variable(data(2, 3)), nnfast.Variable(data(2, 3, seed=1))
    with nnfast.GradientTape() as tape:
        y = layers.subtract([a, b])
        loss = ops.sum(y * 2.0)
    assert_close(y.numpy(), a.numpy() - b.numpy())
    da, db = tape.gradient(loss, [a, b])
    assert (da.numpy() == 2).all() and (db.numpy() == -2).all()
    with pytest.raises(ValueError, match="exactly 2 inputs"):
        layers.Subtract()([a, b, a])


@pytest.mark.parametrize("axis", [1, 2, -1, -2])
def test_concatenate(axis, device):
    a = data(2, 3, 4)
    b = np.concatenate([a, a], axis)
    layer = layers.Concatenate(axis)
    np.testing.assert_array_equal(layer([a, b, a]).numpy(), np.concatenate([a, b, a], axis))
    shape = layer.compute_output_shape([(None, *a.shape[1:]), (None, *b.shape[1:])])
    assert shape == (None, *np.concatenate([a, b], axis).shape[1:])
    assert layers.Concatenate(1).compute_output_shape([(None, None, 3), (None, 4, 3)]) == (None, None, 3)
    assert layers.concatenate([Input((3,)), Input((4,))]).shape == (None, 7)


def test_concatenate_refuses(device):
    with pytest.raises(ValueError, match="differ along axis 1"):
        layers.Concatenate()([data(2, 3, 4), data(2, 5, 4)])
    with pytest.raises(ValueError, match="one rank"):
        layers.Concatenate()([data(2, 3), data(2, 3, 4)])
    with pytest.raises(ValueError, match="axis 3"):
        layers.Concatenate(3)([data(2, 3), data(2, 3)])
    with pytest.raises(ValueError, match="list of inputs"):
        layers.Concatenate()(data(2, 3))


@pytest.mark.parametrize(
    "axes, a, b, formula",
    [
        (1, (3,), (3,), "ni,ni->n"),
        (2, (4, 3), (5, 3), "nai,nbi->nab"),
        ((1, 2), (3, 4), (5, 3), "nia,nbi->nab"),
        (-1, (2, 4, 3), (5, 3), "nxai,nbi->nxab"),
        ((2, 1), (4, 3), (3,), "nai,ni->na"),
    ],
    ids=str,
)
@pytest.mark.parametrize("normalize", [False, True])
def test_dot(axes, a, b, formula, normalize, device):
    x, y = data(6, *a), data(6, *b, seed=1)
    layer = layers.Dot(axes, normalize)
    got = layer([x, y]).numpy()
    if normalize:
        pair = axes if isinstance(axes, tuple) else (axes, axes)
        x, y = (v / np.linalg.norm(v, axis=i, keepdims=True) for v, i in zip((x, y), pair))
    want = np.einsum(formula, x, y)
    assert_close(got, want.reshape(got.shape), scale=10)
    assert layer.compute_output_shape([(None, *a), (None, *b)]) == (None, *got.shape[1:])
    assert layers.dot([Input(a), Input(b)], axes).shape == (None, *got.shape[1:])


def test_dot_refuses():
    for axes, words in ((0, "not that of the batch"), (3, "axes of the inputs"), (1, "must be equal")):
        with pytest.raises(ValueError, match=words):
            layers.Dot(axes)([data(2, 3), data(2, 4)])
    with pytest.raises(TypeError, match="axes"):
        layers.Dot("last")


def test_batches_must_agree():
    with pytest.raises(ValueError, match="one batch size"):
        layers.Add()([data(2, 3), data(3, 3)])


# ---- Lambda ----


def double(x, factor=2.0):
    return x * factor


def test_lambda(device):
    x = data(2, 3)
    np.testing.assert_array_equal(layers.Lambda(double, arguments={"factor": 3.0})(x).numpy(), 3 * x)
    i = Input((3,))
    summed = layers.Lambda(lambda t: ops.sum(t, axis=1, keepdims=True))(i)
    assert summed.shape == (None, 1)
    assert layers.Lambda(double, output_shape=(7,))(i).shape == (None, 7)
    assert layers.Lambda(double, output_shape=lambda s: (s[0], 9))(i).shape == (None, 9)
    many = layers.Lambda(lambda ts: ts[0] * ts[1])([i, i])
    np.testing.assert_array_equal(Model(i, many).predict(x, verbose=0), x * x)
    told = layers.Lambda(lambda t, training: t if training else -t)
    assert (told(x).numpy() == -x).all() and (told(x, training=True).numpy() == x).all()


def test_lambda_in_configs():
    layer = layers.Lambda(double, arguments={"factor": 3.0}, name="d")
    with nnfast.saving.custom_object_scope({"double": double}):
        again = layers.deserialize(layers.serialize(layer))
    assert again.function is double and again.arguments == {"factor": 3.0}
    with pytest.raises(ValueError, match="'double'"):
        layers.deserialize(layers.serialize(layer))
    bytecode = {"class_name": "__lambda__", "config": {"code": "4wAAAA=="}}
    with pytest.raises(ValueError, match="never runs"):
        layers.deserialize({"class_name": "Lambda", "config": {"name": "d", "function": bytecode}})
    with pytest.raises(TypeError, match="function"):
        layers.Lambda(3)


def test_lambda_makes_masks(device):
    layer = layers.Lambda(lambda t, mask=None: t * 1.0, mask=lambda t, mask: t[:, :, 0] > 0.0)
    x = data(2, 3, 1)
    np.testing.assert_array_equal(np.asarray(layer(x)._keras_mask), x[:, :, 0] > 0)


# ---- InputSpec ----


@pytest.mark.parametrize(
    "spec, words",
    [
        ({"ndim": 3}, "3 dimensions"),
        ({"min_ndim": 3}, "at least 3"),
        ({"max_ndim": 1}, "at most 1"),
        ({"shape": (None, 4)}, "size 4 along axis 1"),
        ({"axes": {-1: 4}}, "size 4 along axis -1"),
        ({"dtype": "int32"}, "dtype int32"),
    ],
)
def test_input_spec(spec, words):
    class Mine(layers.Layer):
        def __init__(self):
            super().__init__()
            self.input_spec = layers.InputSpec(**spec)

        def call(self, x):
            return x

    for x in (data(2, 3), Input((3,))):
        with pytest.raises(ValueError, match=words):
            Mine()(x)
    again = layers.InputSpec.from_config(layers.InputSpec(**spec).get_config())
    assert repr(again) == repr(layers.InputSpec(**spec))


def test_input_spec_refuses_axes_beyond_the_rank():
    with pytest.raises(ValueError, match="below the rank"):
        layers.InputSpec(ndim=2, axes={2: 3})
    with pytest.raises(TypeError, match="axes"):
        layers.InputSpec(axes={"a": 3})
