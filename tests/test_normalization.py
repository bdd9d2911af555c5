"""BatchNormalization and LayerNormalization: their formulas, what they remember, when they are frozen."""

import numpy as np
import pytest
from arrays import near, x32, x64
from compare import assert_close, gradcheck

import nnfast
from nnfast import _cpu, layers, ops, reference

# Keras 3.15.1, BatchNormalization(momentum=0.9) on [[1, 2], [3, -2], [8, 0]] in training, then what it remembers.
KERAS_X = np.array([[1, 2], [3, -2], [8, 0]], "float32")
KERAS_Y = [[-1.0189905, 1.2245153], [-0.3396635, -1.2245153], [1.358654, 0.0]]
KERAS_MOVING = [[0.4, 0.0], [1.7666667, 1.1666666]]


@pytest.mark.parametrize("axis, shape", [(-1, (6, 4)), (1, (3, 4, 5, 2)), (3, (3, 2, 5, 4)), (-2, (5, 4, 3))])
def test_batch_normalization_is_its_formula(axis, shape, device, dtype):
    x = (x64(*shape) + 3).astype(dtype)
    layer = layers.BatchNormalization(axis, momentum=0.7, epsilon=0.01, dtype=dtype.name)
    y = layer(x, training=True)
    gamma, beta = x64(4, seed=1).astype(dtype), x64(4, seed=2).astype(dtype)
    others = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    mean, variance = x.mean(others), x.var(others)
    spread = lambda v: np.expand_dims(v, others)  # noqa: E731
    near(y, (x - spread(mean)) / np.sqrt(spread(variance) + 0.01), scale=4)
    near(layer.moving_mean, 0.3 * mean, scale=4)
    near(layer.moving_variance, (0.7 + 0.3 * variance).astype(dtype), scale=4)
    layer.set_weights([gamma, beta, *layer.get_weights()[2:]])
    m, v = (spread(w.numpy()) for w in (layer.moving_mean, layer.moving_variance))
    near(layer(x), (x - m) / np.sqrt(v + 0.01) * spread(gamma) + spread(beta), scale=8)
    assert layer.compute_output_shape(shape) == shape


def test_batch_normalization_as_keras(device):
    layer = layers.BatchNormalization(momentum=0.9)
    np.testing.assert_allclose(layer(KERAS_X, training=True).numpy(), KERAS_Y, atol=2e-6)
    np.testing.assert_allclose([layer.moving_mean.numpy(), layer.moving_variance.numpy()], KERAS_MOVING, rtol=1e-6)
    assert [w.path for w in layer.weights] == [
        f"{layer.name}/{n}" for n in ("gamma", "beta", "moving_mean", "moving_variance")
    ]
    assert [w.name for w in layer.trainable_weights] == ["gamma", "beta"]


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("training", [True, False])
def test_batch_normalization_gradients(axis, training, device):
    layer = layers.BatchNormalization(axis, dtype="float64")
    layer.build((None, 3, 2, 3))
    layer.set_weights([*layer.get_weights()[:2], np.array([0.1, -0.2, 0.3]), np.array([0.5, 2.0, 1.0])])

    def f(x, gamma, beta):
        layer.gamma, layer.beta = gamma, beta
        return layer(x, training=training)

    gradcheck(f, x64(4, 3, 2, 3) + 1, np.array([1.0, 0.5, -2.0]), np.array([0.0, 1.0, 2.0]))


def test_frozen_batch_normalization_uses_what_it_remembers(device):
    x = x32(8, 3) + 5
    layer = layers.BatchNormalization()
    layer(x, training=True)
    before = [w.copy() for w in layer.get_weights()]
    layer.trainable = False
    near(layer(x, training=True), layer(x))
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights()))
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 4
    layer.trainable = True
    assert abs(layer(x, training=True).numpy().mean()) < 1e-5


def test_parts_can_be_left_out(device):
    layer = layers.BatchNormalization(center=False, scale=False)
    x = x32(5, 3)
    near(layer(x, training=True), (x - x.mean(0)) / np.sqrt(x.var(0) + np.float32(1e-3)))
    assert [w.name for w in layer.weights] == ["moving_mean", "moving_variance"]
    with pytest.raises(ValueError, match="renorm is not supported"):
        layers.BatchNormalization(renorm=True)


def fitted(x, y, **kwargs):
    nnfast.utils.set_random_seed(1)
    model = nnfast.Sequential(
        [nnfast.Input(shape=(3,)), layers.BatchNormalization(momentum=0.5), layers.Dense(2, "softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    try:
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0, **kwargs)
    finally:
        return model.layers[0]  # noqa: B012


def test_moving_statistics_in_fit(device):
    x, y = x32(8, 3) * 4 + 2, np.array([0, 1] * 4)
    layer = fitted(x, y)
    mean = np.zeros(3)
    for rows in (slice(0, 4), slice(4, 8)):
        mean = 0.5 * mean + 0.5 * x[rows].mean(0)
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-5)


def test_a_bad_batch_does_not_move_them(device):
    """The label is found after the layer has run: it must be as before the bad batch."""
    x, y = x32(8, 3) * 4 + 2, np.array([0, 1, 0, 1, 0, 7, 0, 1])
    layer = fitted(x, y)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.5 * x[:4].mean(0), rtol=1e-5)


def test_an_empty_batch_moves_nothing(device):
    layer = layers.BatchNormalization()
    assert layer(np.zeros((0, 3)), training=True).shape == (0, 3)
    assert layer.moving_mean.tolist() == [0, 0, 0] and layer.moving_variance.tolist() == [1, 1, 1]


@pytest.mark.parametrize("axis", [-1, 1, [1, 2], (1, 3), [3, 1], [1, 2, 3]])
def test_layer_normalization_is_its_formula(axis, device, dtype):
    x = (x64(2, 3, 4, 5) + 2).astype(dtype)
    layer = layers.LayerNormalization(axis, epsilon=0.01, dtype=dtype.name)
    layer.build((None, 3, 4, 5))
    axes = tuple(sorted(a % 4 for a in (axis if isinstance(axis, (list, tuple)) else [axis])))
    sizes = tuple(x.shape[a] for a in axes)
    assert layer.gamma.shape == sizes
    gamma, beta = x64(*sizes, seed=1).astype(dtype), x64(*sizes, seed=2).astype(dtype)
    layer.set_weights([gamma, beta])
    spread = lambda v: np.expand_dims(v, tuple(i for i in range(4) if i not in axes))  # noqa: E731
    normal = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + dtype.type(0.01))
    near(layer(x), normal * spread(gamma) + spread(beta), scale=4)
    assert layer.compute_output_shape((None, 3, 4, 5)) == (None, 3, 4, 5)


@pytest.mark.parametrize("axis", [-1, [1, 2], 1])
def test_layer_normalization_gradients(axis, device):
    layer = layers.LayerNormalization(axis, dtype="float64")
    layer.build((None, 3, 4))
    shape = layer.gamma.shape

    def f(x, gamma, beta):
        layer.gamma, layer.beta = gamma, beta
        return layer(x)

    gradcheck(f, x64(2, 3, 4) + 1, x64(*shape, seed=1), x64(*shape, seed=2))


@pytest.mark.parametrize("length", [1, 5, 16, 33, 70, 4100])
def test_layer_normalization_gradients_row_by_row(length, isa, dtype, rng):
    options = {"axis": 1}
    for rows in (1, 4, 7, 131):
        x, dy = (rng.standard_normal((rows, length)).astype(dtype) for _ in range(2))
        for gamma in (None, rng.standard_normal(length).astype(dtype)):
            _, *statistics = _cpu.layer_norm(x, gamma, None, epsilon=0.1, **options)
            got = _cpu.layer_norm_gradient(dy, x, gamma, *statistics, **options)
            for of_ours, of_reference in zip(got, reference.layer_norm_gradient(dy, x, gamma, *statistics, **options)):
                assert_close(of_ours, of_reference, scale=10)
            alone = _cpu.layer_norm_gradient(dy, x, gamma, *statistics, **options, needs_dgamma=False)
            np.testing.assert_array_equal(alone[0], got[0])  # the same bits, whatever else is asked for,
            last = [a[-1:] for a in (dy, x)], [s[-1:] for s in statistics]
            dx, _, _ = _cpu.layer_norm_gradient(*last[0], gamma, *last[1], **options)
            np.testing.assert_array_equal(dx[0], got[0][-1])  # and wherever a row stands


def test_large_means_cost_no_digits():
    """float32 with a mean 10,000 times the deviation: a sum of squares would have lost everything."""
    x = (x64(4000, 3) + 1e4).astype("float32")
    wanted = x.astype("float64")
    _, mean, variance = ops.batch_norm(x, epsilon=0.0, statistics=True)
    np.testing.assert_allclose(mean.numpy(), wanted.mean(0), rtol=1e-7)
    np.testing.assert_allclose(variance.numpy(), wanted.var(0), rtol=1e-4)
    np.testing.assert_allclose(ops.layer_norm(x.T, epsilon=0.0).numpy().std(1), 1, rtol=1e-4)


@pytest.mark.parametrize(
    "wrong, says",
    [
        (lambda: layers.BatchNormalization(axis=3)(x32(2, 3)), "axis=3"),
        (lambda: layers.BatchNormalization().build((None, None)), "size of its axis -1"),
        (lambda: layers.BatchNormalization(axis="x"), "axis must be an integer"),
        (lambda: layers.BatchNormalization(momentum=2), "momentum"),
        (lambda: layers.LayerNormalization([1, -1])(x32(2, 3)), "different axes"),
        (lambda: layers.LayerNormalization(2)(x32(2, 3)), "axis=2"),
        (lambda: layers.LayerNormalization().build((None, None)), "sizes of its axes"),
        (lambda: ops.batch_norm(x32(2, 3), mean=x32(3)), "together"),
        (lambda: ops.layer_norm(x32(2, 3), axis=()), "at least one axis"),
    ],
)
def test_wrong_arguments(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()


def test_built_for_other_channels():
    first, second = layers.BatchNormalization(), layers.LayerNormalization()
    for layer, says in ((first, "built for 3 channels along axis -1"), (second, r"built for sizes \(3,\)")):
        layer(x32(2, 3))
        with pytest.raises(ValueError, match=says):
            layer(x32(2, 4))
