"""What weights begin as, what they cost, and what they must fulfil: initializers, regularizers, constraints."""

import math

import numpy as np
import pytest
from compare import assert_close, gradcheck

import nnfast
from nnfast import constraints, initializers, regularizers

SCALED = {
    # name: (scale, mode, distribution)
    "glorot_uniform": (1.0, "avg", "uniform"),
    "glorot_normal": (1.0, "avg", "normal"),
    "he_uniform": (2.0, "in", "uniform"),
    "he_normal": (2.0, "in", "normal"),
    "lecun_uniform": (1.0, "in", "uniform"),
    "lecun_normal": (1.0, "in", "normal"),
}
RANDOM = [*SCALED, "random_uniform", "random_normal", "truncated_normal", "variance_scaling", "orthogonal"]


def moments(w):
    return float(w.mean(dtype=np.float64)), float(w.astype(np.float64).var())


# ---- initializers ----


@pytest.mark.parametrize("name", ["zeros", "ones", *RANDOM])
def test_shape_and_dtype(name, device, dtype):
    w = initializers.get(name)((6, 4), dtype=dtype.name)
    assert w.shape == (6, 4) and w.dtype == dtype and w.node is None
    assert initializers.get(name)((6, 4)).dtype == np.float32
    nnfast.config.set_floatx("float64")
    assert initializers.get(name)((6, 4)).dtype == np.float64


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize(
    "shape, fans", [((300, 200), (300, 200)), ((5, 5, 12, 200), (300, 5000)), ((50000,), (50000,) * 2)]
)
def test_variance_scaling(name, shape, fans, device):
    """The variance is that of the formula, within five standard errors; a uniform keeps its limit, a normal its cut."""
    scale, mode, distribution = SCALED[name]
    n = fans[0] if mode == "in" else sum(fans) / 2
    w = initializers.get(name)(shape).numpy()
    mean, variance = moments(w)
    wanted = scale / n
    assert abs(mean) < 5 * math.sqrt(wanted / w.size)
    assert abs(variance / wanted - 1) < 5 * math.sqrt(2 / w.size)
    limit = math.sqrt(3 * wanted) if distribution == "uniform" else 2 * math.sqrt(wanted) / 0.87962566103423978
    assert 0.98 * limit < np.abs(w).max() <= limit * (1 + 1e-6)


def test_fan_out_and_untruncated():
    w = initializers.VarianceScaling(3.0, "fan_out", "untruncated_normal")((40, 500)).numpy()
    assert abs(moments(w)[1] / (3 / 500) - 1) < 5 * math.sqrt(2 / w.size)
    assert np.abs(w).max() > 2.5 * math.sqrt(3 / 500)
    assert initializers.VarianceScaling(distribution="normal").distribution == "truncated_normal"


def test_plain_distributions(device):
    u = initializers.RandomUniform(-1.0, 3.0)((20000,)).numpy()
    assert -1 <= u.min() < -0.99 and 2.99 < u.max() <= 3 and abs(u.mean() - 1) < 0.05
    z = initializers.RandomNormal(2.0, 0.5)((20000,)).numpy()
    assert abs(z.mean() - 2) < 0.02 and abs(z.std() - 0.5) < 0.02 and np.abs(z - 2).max() > 1.2
    t = initializers.TruncatedNormal(2.0, 0.5)((20000,)).numpy()
    assert 0.98 < np.abs(t - 2).max() <= 1 + 1e-6


@pytest.mark.parametrize("name", RANDOM)
def test_seeds(name, device):
    seeded = initializers.deserialize({"class_name": name, "config": {"seed": 5}})
    a, b = seeded((6, 4)).numpy(), seeded((6, 4)).numpy()
    assert np.array_equal(a, b)  # an integer seed means the same values each time
    free = initializers.get(name)
    nnfast.utils.set_random_seed(3)
    c, d = free((6, 4)).numpy(), free((6, 4)).numpy()
    assert not np.array_equal(c, d) and not np.array_equal(a, c)
    nnfast.utils.set_random_seed(3)
    assert np.array_equal(initializers.get(name)((6, 4)).numpy(), c)


def test_numpy_seed_is_honoured():
    """Once nnfast's own seed is unset, `np.random.seed` decides."""
    nnfast.ops.random.default_generator.seed(None)
    values = []
    for seed in (10, 10, 11):
        np.random.seed(seed)
        values.append(initializers.GlorotUniform()((3, 3)).numpy())
    assert np.array_equal(values[0], values[1]) and not np.array_equal(values[0], values[2])
    np.random.seed(10)
    before = np.random.standard_normal(5)
    np.random.seed(10)
    again = initializers.GlorotUniform()((3, 3)).numpy()
    assert np.array_equal(again, values[0])
    assert np.array_equal(np.random.standard_normal(5), before)  # NumPy's own numbers stay what they were
    assert not np.array_equal(initializers.GlorotUniform()((3, 3)).numpy(), again)


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (3, 3, 2, 5), (2, 2, 1, 30), (1, 1)])
def test_orthogonal(shape, device):
    w = initializers.Orthogonal(gain=2.0, seed=1)(shape, dtype="float64").numpy().reshape(-1, shape[-1])
    rows, columns = w.shape
    gram = w.T @ w if rows >= columns else w @ w.T
    np.testing.assert_allclose(gram, 4 * np.eye(min(rows, columns)), atol=1e-12)


def test_orthogonal_has_no_preferred_sign():
    signs = [np.sign(initializers.Orthogonal(seed=s)((3, 3)).numpy()[0, 0]) for s in range(40)]
    assert 8 < sum(s > 0 for s in signs) < 32


def test_devices_agree():
    values = {}
    for name in ("cpu", "reference"):
        nnfast.set_device(name)
        values[name] = [initializers.deserialize({"class_name": n, "config": {"seed": 9}})((7, 5)) for n in RANDOM]
    for a, b in zip(values["cpu"], values["reference"]):
        assert_close(a, b)


def test_constants(device):
    assert initializers.Constant(3)((2, 2)).tolist() == [[3, 3], [3, 3]]
    assert initializers.Constant([1.0, 2.0])((2, 2)).tolist() == [[1, 2], [1, 2]]
    assert initializers.Identity(2.0)((2, 3)).tolist() == [[2, 0, 0], [0, 2, 0]]
    assert initializers.get(np.array([1.0, 2.0]))((2,)).tolist() == [1, 2]


@pytest.mark.parametrize(
    "shape, fans",
    [((), (1, 1)), ((7,), (7, 7)), ((3, 4), (3, 4)), ((3, 3, 2, 8), (18, 72)), ((5, 2, 3), (10, 15))],
)
def test_fans(shape, fans):
    assert initializers.compute_fans(shape) == fans


def test_fans_with_axes():
    assert initializers.compute_fans((4, 5, 6), input_axes=0, output_axes=(1, 2)) == (4, 30)
    assert initializers.compute_fans((2, 4, 5, 6), input_axes=[1], output_axes=[-1, 2]) == (8, 60)
    w = initializers.GlorotUniform(seed=1, input_axes=0, output_axes=(1, 2))((40, 10, 30)).numpy()
    assert 0.98 * math.sqrt(6 / 340) < np.abs(w).max() <= math.sqrt(6 / 340)


@pytest.mark.parametrize(
    "wrong, error, says",
    [
        (lambda: initializers.get("glorot_unifrom"), ValueError, "Did you mean 'GlorotUniform'"),
        (lambda: initializers.get(3), TypeError, "Received: 3"),
        (lambda: initializers.GlorotUniform(seed=1.5), TypeError, "seed=1.5"),
        (lambda: initializers.VarianceScaling(scale=0), ValueError, "scale=0"),
        (lambda: initializers.VarianceScaling(mode="fan"), ValueError, "mode='fan'"),
        (lambda: initializers.VarianceScaling(distribution="flat"), ValueError, "distribution='flat'"),
        (lambda: initializers.Orthogonal()((3,)), ValueError, r"\(3,\)"),
        (lambda: initializers.Identity()((3,)), ValueError, r"\(3,\)"),
        (lambda: initializers.Initializer()((3,)), NotImplementedError, "__call__"),
        (lambda: initializers.get({"config": {}}), ValueError, "class_name"),
    ],
)
def test_wrong_initializers(wrong, error, says):
    with pytest.raises(error, match=says):
        wrong()


@pytest.mark.parametrize(
    "names, cls",
    [
        (("glorot_uniform", "GlorotUniform", "glorotuniform", initializers.GlorotUniform), initializers.GlorotUniform),
        (("he_normal", "HeNormal"), initializers.HeNormal),
        (("zeros", "Zeros", "zero"), initializers.Zeros),
        (("uniform", "RandomUniform"), initializers.RandomUniform),
        (("normal", "random_normal"), initializers.RandomNormal),
        (("orthogonal", "OrthogonalInitializer"), initializers.Orthogonal),
    ],
)
def test_spellings_of_initializers(names, cls):
    for name in names:
        assert type(initializers.get(name)) is cls
    assert initializers.get(None) is None
    assert initializers.glorot_uniform is initializers.GlorotUniform


@pytest.mark.parametrize(
    "made",
    [
        initializers.Constant(2.5),
        initializers.Identity(3.0),
        initializers.RandomUniform(-1, 2, seed=4),
        initializers.TruncatedNormal(1, 2, seed=4),
        initializers.VarianceScaling(2.0, "fan_out", "uniform", seed=4, input_axes=0, output_axes=1),
        initializers.HeNormal(seed=4),
        initializers.Orthogonal(2.0, seed=4),
        regularizers.L1(0.3),
        regularizers.L2(0.4),
        regularizers.L1L2(0.1, 0.2),
        regularizers.OrthogonalRegularizer(0.3, "columns"),
        constraints.MaxNorm(3, axis=[0, 1]),
        constraints.NonNeg(),
        constraints.UnitNorm(1),
        constraints.MinMaxNorm(0.5, 2.0, 0.3, 1),
    ],
    ids=lambda m: type(m).__name__,
)
def test_configs_come_back(made):
    room = {"initializers": initializers, "regularizers": regularizers, "constraints": constraints}[
        type(made).__module__.split(".")[-1]
    ]
    config = room.serialize(made)
    again = room.deserialize(config)
    assert type(again) is type(made) and room.serialize(again) == config == room.serialize(room.get(config))
    assert all(value == getattr(again, key) for key, value in made.get_config().items())


def test_custom_objects():
    class Half(initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return np.full(shape, 0.5, dtype)

    made = initializers.deserialize({"class_name": "Half", "config": {}}, custom_objects={"Half": Half})
    assert made((2,), "float32").tolist() == [0.5, 0.5]


# ---- regularizers ----


def test_costs(device, dtype):
    w = np.array([[1.0, -2.0], [0.5, 0.0]], dtype)
    for r, cost in [
        (regularizers.L1(0.1), 0.35),
        (regularizers.L2(0.1), 0.525),
        (regularizers.L1L2(0.1, 0.2), 0.35 + 1.05),
        (regularizers.l1_l2(l1=0.0, l2=0.0), 0.0),
        (regularizers.L1(), 0.035),
        (regularizers.L2(), 0.0525),
    ]:
        value = r(w)
        assert value.shape == () and value.dtype == dtype
        assert_close(value, np.asarray(cost, dtype))


def test_orthogonal_cost(device):
    assert abs(regularizers.OrthogonalRegularizer(1.0)(np.eye(3)).item()) < 1e-12
    w = np.array([[3.0, 0.0], [1.0, 1.0]])  # the rows are 45 degrees apart, the columns cos = 1 / sqrt(10)
    assert abs(regularizers.OrthogonalRegularizer(2.0)(w).item() - 2 * math.sqrt(0.5)) < 1e-12
    assert abs(regularizers.OrthogonalRegularizer(1.0, "columns")(w).item() - 1 / math.sqrt(10)) < 1e-12
    three = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])  # one of three pairs is parallel
    assert abs(regularizers.OrthogonalRegularizer(1.0)(three).item() - 1 / 3) < 1e-12


@pytest.mark.parametrize(
    "r",
    [regularizers.L1(0.3), regularizers.L2(0.3), regularizers.L1L2(0.2, 0.3), regularizers.OrthogonalRegularizer(0.5)],
    ids=lambda r: type(r).__name__,
)
def test_gradients_of_costs(r, device, rng):
    gradcheck(r, rng.uniform(0.2, 1, (3, 4)) * rng.choice([-1, 1], (3, 4)))


@pytest.mark.parametrize(
    "wrong, error",
    [
        (lambda: regularizers.get("l3"), ValueError),
        (lambda: regularizers.L1(-1), ValueError),
        (lambda: regularizers.L2(float("nan")), ValueError),
        (lambda: regularizers.L2("a"), ValueError),
        (lambda: regularizers.OrthogonalRegularizer(mode="diagonal"), ValueError),
        (lambda: regularizers.OrthogonalRegularizer()(np.ones(3)), ValueError),
        (lambda: regularizers.get(0.01), TypeError),
        (lambda: constraints.get("max_nrom"), ValueError),
        (lambda: constraints.get(2), TypeError),
        (lambda: constraints.Constraint()(np.ones(2)), NotImplementedError),
        (lambda: regularizers.Regularizer()(np.ones(2)), NotImplementedError),
    ],
)
def test_wrong_regularizers_and_constraints(wrong, error):
    with pytest.raises(error, match=r"Received|needs"):
        wrong()


def test_spellings_of_regularizers():
    for name in ("l2", "L2", {"class_name": "L2", "config": {"l2": 0.01}}, regularizers.L2()):
        assert regularizers.get(name).l2 == 0.01
    assert regularizers.get("l1_l2").l1 == 0 and regularizers.get(None) is None
    f = lambda w: w  # noqa: E731
    assert regularizers.get(f) is f


# ---- constraints ----


def test_max_norm(device, dtype):
    w = np.array([[3.0, 0.3], [4.0, 0.4]], dtype)
    y = constraints.MaxNorm(2)(w)
    assert y.dtype == dtype
    np.testing.assert_allclose(np.asarray(y), [[1.2, 0.3], [1.6, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(np.asarray(constraints.MaxNorm(1, axis=1)(w)), axis=1)[0], 1, rtol=1e-6)
    assert np.array_equal(np.asarray(constraints.MaxNorm()(np.zeros((2, 2), dtype))), np.zeros((2, 2)))


def test_max_norm_over_several_axes(device, rng):
    w = rng.standard_normal((3, 3, 2, 5))
    norms = np.sqrt((np.asarray(constraints.MaxNorm(0.5, axis=[0, 1, 2])(w)) ** 2).sum((0, 1, 2)))
    np.testing.assert_allclose(norms, 0.5, rtol=1e-6)


def test_non_neg(device):
    assert constraints.NonNeg()([-1.0, 0.0, 2.0]).tolist() == [0, 0, 2]


def test_unit_norm(device, rng):
    w = np.asarray(constraints.UnitNorm(axis=0)(rng.standard_normal((4, 3))))
    np.testing.assert_allclose(np.linalg.norm(w, axis=0), 1, rtol=1e-6)


def test_min_max_norm(device):
    w = np.array([[0.1, 1.5, 8.0]])
    np.testing.assert_allclose(np.asarray(constraints.MinMaxNorm(1.0, 2.0)(w)), [[1, 1.5, 2]], rtol=1e-6)
    half = constraints.MinMaxNorm(1.0, 2.0, rate=0.5)(w)  # half of the way
    np.testing.assert_allclose(np.asarray(half), [[0.55, 1.5, 5.0]], rtol=1e-6)


def test_spellings_of_constraints():
    assert constraints.get("MaxNorm").max_value == constraints.get("max_norm").max_value == 2
    assert type(constraints.get("non_neg")) is type(constraints.get("NonNeg")) is constraints.NonNeg
    assert constraints.get(None) is None
