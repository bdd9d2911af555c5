"""Parts, copies and ranges by Keras's names, against NumPy; draws by Keras's names."""

import numpy as np
import pytest
from compare import gradcheck

import nnfast
from nnfast import ops, random

X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("x", [X, X.astype("int32"), X > 7], ids=["float", "int", "bool"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, None])
def test_as_numpy(x, axis, device):
    def same(got, wanted):
        assert got.shape == wanted.shape and got.dtype == wanted.dtype
        np.testing.assert_array_equal(got.numpy(), wanted)

    for at in ([1, 0, 1], [[0, 1, 1], [1, 0, -1]], 1, np.zeros(0, int)):
        same(ops.take(x, at, axis), np.take(x, at, axis))
    for n in (0, 1, 3, [2]):
        same(ops.repeat(x, n, axis), np.repeat(x, n, axis))
    counts = np.arange(x.size if axis is None else x.shape[axis]) % 3
    same(ops.repeat(x, counts, axis), np.repeat(x, counts, axis))
    same(ops.flip(x, axis), np.flip(x, axis))
    for keepdims in (False, True):
        few = x * (x == x[1, 2, 3])  # False for most
        same(ops.any(few, axis, keepdims), np.asarray(np.any(few, axis=axis, keepdims=keepdims)))
        same(ops.all(x, axis, keepdims), np.asarray(np.all(x, axis=axis, keepdims=keepdims)))
    if axis is not None:
        n = x.shape[axis]
        for parts in (1, n, [1], [1, 2], [0, 1, 1]):
            for got, wanted in zip(ops.split(x, parts, axis), np.split(x, parts, axis), strict=True):
                same(got, wanted)
    for n in (2, (2, 3), (1, 2, 3), (2, 1, 1, 2), 0, ()):
        same(ops.tile(x, n), np.tile(x, n))


def test_ranges_and_conversions():
    for given in ((3,), (1, 7, 2), (5, 0, -2), (0.0, 1.0, 0.25), (2.5,)):
        got, wanted = ops.arange(*given), np.arange(*given)
        assert got.tolist() == wanted.tolist() and got.dtype == ("int64" if wanted.dtype.kind == "i" else "float32")
    assert ops.arange(3, dtype="float64").dtype == np.float64
    assert ops.eye(2, 3, 1).tolist() == np.eye(2, 3, 1).tolist() and ops.eye(2, dtype="int32").dtype == np.int32
    x = nnfast.Variable([1.0, 2.0])
    assert ops.convert_to_tensor(x) is x and ops.convert_to_tensor(x, "float64").dtype == np.float64
    a = ops.convert_to_numpy(x)
    a[:] = 0
    assert x.tolist() == [1, 2] and ops.convert_to_tensor([1, 2]).dtype == np.int64


def test_gradients():
    x = X + 0.5
    gradcheck(lambda v: ops.split(v, [1, 3], 2)[1] ** 2, x)
    gradcheck(lambda v: ops.take(v, [2, 0, -1, 2], 1) ** 2, x)
    gradcheck(lambda v: ops.tile(v, (2, 1, 3)) ** 2, x)
    gradcheck(lambda v: ops.repeat(v, [2, 0, 1], 1) ** 2, x)
    gradcheck(lambda v: ops.flip(v, (0, 2)) ** 2 * X, x)
    with nnfast.GradientTape() as tape:
        v = nnfast.Variable([3.0])
        y = v * ops.stop_gradient(v * v)
    assert tape.gradient(y, v).tolist() == [9.0]


ERRORS = {
    "split": (lambda: ops.split(X, 5, 1), ValueError, "axis 1 has no 5 equal parts"),
    "split at 1.5": (lambda: ops.split(X, [1.5]), TypeError, "must be an integer"),
    "take": (lambda: ops.take(X, [3], 1), IndexError, "out of range"),
    "axis": (lambda: ops.take(X, [0], 3), IndexError, "axis is out of range"),
    "repeat": (lambda: ops.repeat(X, [1, 2], 1), ValueError, "one count, or one for each entry"),
    "negative": (lambda: ops.tile(X, -1), ValueError, "must not be negative"),
    "arange": (lambda: ops.arange(0, 3, 0), ZeroDivisionError, r"\[arange\]"),
    "eye": (lambda: ops.eye(2.0), TypeError, "N must be an integer"),
    "randint": (lambda: random.randint((2,), 3, 3), ValueError, "minval must be below maxval"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        call()


def test_draws_have_keras_arguments():
    for draw in (
        lambda seed: random.normal((50,), 1.0, 2.0, seed=seed),
        lambda seed: random.truncated_normal((50,), mean=1.0, stddev=0.1, seed=seed),
        lambda seed: random.uniform((50,), minval=-2.0, maxval=-1.0, dtype="float64", seed=seed),
        lambda seed: random.randint((50,), 3, 9, seed=seed),
        lambda seed: random.dropout(np.ones(50), 0.5, seed=seed),
        lambda seed: random.shuffle(np.arange(50), seed=seed),
    ):
        one, other = draw(3).numpy(), draw(4).numpy()
        assert (one == draw(3).numpy()).all() and (one != other).any()
        generator = random.SeedGenerator(3)
        assert (draw(generator).numpy() == one).all() and (draw(generator).numpy() != one).any()
        nnfast.utils.set_random_seed(5)
        first = draw(None).numpy()
        nnfast.utils.set_random_seed(5)
        assert (draw(None).numpy() == first).all()
    u = random.uniform((1000,), -2, -1).numpy()
    assert -2 <= u.min() < -1.99 and -1.01 < u.max() < -1
    assert sorted(set(random.randint((500,), -2, 2).tolist())) == [-2, -1, 0, 1]
    assert sorted(random.shuffle(np.arange(9)).tolist()) == list(range(9))


def test_a_sampling_layer_goes_on_where_it_was_saved(tmp_path):
    """As in Keras's guide to variational autoencoders: a layer with a SeedGenerator of its own."""

    @nnfast.saving.register_keras_serializable("test_arrange")
    class Sampling(nnfast.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.seed_generator = random.SeedGenerator(1337)

        def call(self, inputs):
            mean, log_var = ops.split(inputs, 2, axis=-1)
            epsilon = random.normal(shape=ops.convert_to_tensor(mean).shape, seed=self.seed_generator)
            return mean + ops.exp(0.5 * log_var) * epsilon

    x = np.random.default_rng(0).random((8, 4)).astype("float32")
    model = nnfast.Sequential([nnfast.Input((4,)), nnfast.layers.Dense(4), Sampling()])
    model.compile("adam", "mse")
    model.fit(x, x[:, :2], verbose=0)
    model.save(tmp_path / "m.keras")
    again = nnfast.models.load_model(tmp_path / "m.keras")
    assert (model.predict(x, verbose=0) == again.predict(x, verbose=0)).all()
