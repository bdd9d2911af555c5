"""Layers: what every layer does, then each argument of each layer, one by one."""

import math
import threading

import numpy as np
import pytest
from compare import assert_close, gradcheck

import nnfast
from nnfast import activations, constraints, initializers, layers, ops, reference, regularizers

SELU = (1.0507009873554805, 1.6732632423543772)
ERF = np.vectorize(math.erf)


class Scale(layers.Layer):
    """A layer as users write them."""

    def __init__(self, power=1, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def build(self, input_shape):
        self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

    def call(self, x):
        for _ in range(self.power):
            x = x * self.factor
        return x


class Tell(layers.Layer):
    """Remembers what it was told about training."""

    def call(self, x, training=None):
        self.told = training
        return x


class Pair(layers.Layer):
    """A composite layer, which does not pass training on."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = Tell()
        self.others = [layers.Dense(2, name="inner"), {"deep": Tell()}]
        self.loose = nnfast.Variable([1.0, 2.0], name="loose")

    def call(self, x):
        return self.others[1]["deep"](self.others[0](self.first(x))) * self.loose


def near(got, expected, **kwargs):
    assert_close(np.asarray(got), np.asarray(expected), **kwargs)


def x32(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def x64(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# ---- every layer ----


def test_automatic_names():
    nnfast.utils.clear_session()
    made = [layers.Dense(1), layers.Dense(1), layers.Dense(1, name="mine"), layers.Dense(1), layers.ReLU()]
    assert [m.name for m in made] == ["dense", "dense_1", "mine", "dense_2", "re_lu"]
    names = [
        c(*a).name
        for c, a in ((layers.Conv2D, (1, 1)), (layers.MaxPool2D, ()), (layers.LeakyReLU, ()), (layers.PReLU, ()))
    ]
    assert names == ["conv2d", "max_pooling2d", "leaky_re_lu", "p_re_lu"]
    nnfast.utils.clear_session(free_memory=False)
    assert layers.Dense(1).name == "dense"
    for wrong in ("", "a/b", 3):
        with pytest.raises(ValueError, match="name"):
            layers.Dense(1, name=wrong)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: layers.Dense(3, units_=2), "units_=2"),
        (lambda: layers.Conv2D(64, 3, 3, border_mode="same"), "border_mode='same'. It is called padding now"),
        (lambda: layers.Dense(3, init="uniform"), "kernel_initializer now"),
        (lambda: layers.Dropout(0.5, p=0.3), "rate now"),
        (lambda: layers.ELU(beta=1), "beta=1"),
        (lambda: layers.MaxPooling2D(dim_ordering="th"), "data_format now"),
    ],
)
def test_unknown_arguments(make, says):
    with pytest.raises(TypeError, match="unknown argument") as e:
        make()
    assert says in str(e.value)


def test_arguments_of_later_keras():
    assert layers.Dense(3, lora_rank=None, quantization_config=None).units == 3
    with pytest.raises(ValueError, match="lora_rank is not supported"):
        layers.Dense(3, lora_rank=4)


def test_built_by_the_first_call(device):
    layer = layers.Dense(3)
    assert not layer.built and layer.weights == [] and repr(layer).endswith("built=False>")
    with pytest.raises(ValueError, match="not built"):
        layer.count_params()
    with pytest.raises(AttributeError, match="input shape"):
        layer.input_shape  # noqa: B018
    y = layer(x32(4, 5))
    assert y.shape == (4, 3) and layer.built and layer.count_params() == 18
    assert layer.input_shape == (None, 5) and layer.output_shape == (None, 3)
    assert [w.path for w in layer.weights] == [f"{layer.name}/kernel", f"{layer.name}/bias"]
    kernel = layer.kernel
    layer(x32(6, 5))
    assert layer.kernel is kernel


def test_built_by_hand(device):
    layer = layers.Dense(3)
    layer.build([None, 5])
    kernel = layer.kernel
    layer(x32(4, 5))
    assert layer.kernel is kernel and layer.built
    mine = Scale()
    mine.build((None, 2))
    factor = mine.factor
    mine(x32(4, 2))
    assert mine.factor is factor and mine.built


def test_super_build_is_not_the_end_of_build(device):
    class Early(layers.Layer):
        def build(self, input_shape):
            super().build(input_shape)
            assert not self.built
            self.w = self.add_weight((2,), "ones")

        def call(self, x):
            return x * self.w

    layer = Early(weights=[np.array([3.0, 4.0])])
    assert layer(np.ones((1, 2))).tolist() == [[3, 4]] and layer.built


def test_input_shapes_given_at_construction():
    assert layers.Dense(3, input_shape=(5,))._declared_shape == (None, 5)
    assert layers.Dense(3, input_dim=5)._declared_shape == (None, 5)
    assert layers.Dense(3, batch_input_shape=(8, 5))._declared_shape == (8, 5)
    assert layers.Dense(3, input_shape=(5,), batch_size=4)._declared_shape == (4, 5)
    with pytest.raises(ValueError, match="shape"):
        layers.Dense(3, input_shape=("a",))


def test_initial_weights(device):
    w, b = x32(4, 3), x32(3, seed=1)
    layer = layers.Dense(3, weights=[w, b])
    near(layer(np.eye(4, dtype="float32")), w + b)
    with pytest.raises(ValueError, match="has 2 weights"):
        layers.Dense(3, weights=[w])(x32(1, 4))


@pytest.mark.parametrize("given", ["float32", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("of", [None, "float32", "float64"])
def test_inputs_are_cast(given, of, device):
    x = np.array([[0, 1], [1, 3]]).astype(given)
    layer = layers.Dense(2, kernel_initializer="ones", dtype=of)
    y = layer(x)
    assert y.dtype == (of or "float32") == layer.dtype and layer.kernel.dtype == (of or "float32")
    near(y, x.astype(layer.dtype) @ np.ones((2, 2), layer.dtype))
    near(layer(nnfast.tensor(x)), y)
    assert layers.MaxPooling2D(dtype=of)(np.zeros((1, 2, 2, 1), given)).dtype == (of or "float32")


def test_other_inputs(device):
    layer = layers.Dense(2, kernel_initializer="ones")
    assert layer([[1, 2]]).tolist() == layer([[1.0, 2.0]]).tolist() == [[3, 3]]
    nnfast.config.set_floatx("float64")
    assert layers.Dense(2)(x32(1, 2)).dtype == np.float64
    assert layers.Flatten()(np.zeros((2, 3), "uint8")).dtype == np.uint8  # it only moves numbers
    assert layers.Identity()(np.zeros((2, 3), "int64")).dtype == np.int64
    with pytest.raises(TypeError, match="Received: no arguments"):
        layer()
    with pytest.raises(TypeError, match="numbers"):
        layer(np.array([["a"]]))


def test_a_cast_is_differentiated(device):
    x = nnfast.Variable(x64(2, 3))
    layer = layers.Dense(2, dtype="float32")
    with nnfast.GradientTape() as tape:
        y = layer(x)
    g = tape.gradient(y, x)
    assert g.dtype == np.float64
    np.testing.assert_allclose(g.numpy(), np.tile(layer.kernel.numpy().sum(1), (2, 1)), rtol=1e-6)


def test_autocast_off():
    layer = Tell(autocast=False)
    assert layer(x64(2, 2)).dtype == np.float64
    assert Tell()(x64(2, 2)).dtype == np.float32
    assert Tell()(np.ones(2, "int32")).dtype == np.int32  # a layer of your own gets integers as they are


@pytest.mark.parametrize("wrong", ["float16", "int32", "mixed_float16", 3])
def test_wrong_dtype(wrong):
    with pytest.raises(ValueError, match="float32"):
        layers.Dense(1, dtype=wrong)


def test_dtype_as_keras_writes_it():
    assert layers.Dense(1, dtype={"class_name": "DTypePolicy", "config": {"name": "float64"}}).dtype == "float64"


def test_add_weight(device):
    layer = layers.Layer(name="own")
    w = layer.add_weight((2, 3), "ones", regularizer="l2", constraint="non_neg", name="w")
    assert w.tolist() == [[1, 1, 1]] * 2 and w.path == "own/w" and w.name == "w" and w.trainable
    assert isinstance(w.regularizer, regularizers.L2) and isinstance(w.constraint, constraints.NonNeg)
    assert layer.add_weight().shape == ()
    assert layer.add_weight((3,), dtype="float64").dtype == np.float64
    count = layer.add_weight((3,), dtype="int64", trainable=False)
    assert count.tolist() == [0, 0, 0] and not count.trainable
    assert layer.add_weight((2,), lambda shape, dtype: np.array([5.0, 6.0], dtype)).tolist() == [5, 6]
    assert len(layer.weights) == 5
    for wrong, error in [
        (lambda: layer.add_weight((None, 2), name="u"), "must be known"),
        (lambda: layer.add_weight((2,), lambda shape, dtype: np.ones(3)), "must give shape"),
    ]:
        with pytest.raises(ValueError, match=error):
            wrong()
    with pytest.raises(TypeError, match="name='kernel'"):
        layer.add_weight("kernel", (2, 2))


def test_weights_are_found_and_ordered(device):
    pair = Pair(name="pair")
    pair(x32(3, 4))
    assert [w.path.split("/")[-1] for w in pair.weights] == ["loose", "kernel", "bias"]
    assert pair.weights == pair.variables and len(pair.trainable_variables) == 3
    pair.others.append(layers.Dense(1, name="late"))
    pair.others[2].build((None, 2))
    assert pair.weights[-1].path == "late/bias"
    pair.again = pair.others[0]  # the same layer twice counts once
    assert len(pair.weights) == 5 and pair.count_params() == 2 + 10 + 3

    class Mixed(layers.Layer):
        def build(self, input_shape):
            self.count = self.add_weight((), trainable=False, name="count")
            self.w = self.add_weight((2,), name="w")

    mixed = Mixed()
    mixed.build((None, 2))
    assert [w.name for w in mixed.weights] == ["w", "count"]  # those that learn come first
    assert [w.name for w in mixed.trainable_weights] == ["w"]
    assert [w.name for w in mixed.non_trainable_weights] == ["count"]


@pytest.mark.parametrize("before", [True, False])
def test_trainable(before, device):
    pair = Pair(trainable=False) if before else Pair()
    pair(x32(3, 4))
    pair.trainable = False
    assert pair.trainable_weights == [] and len(pair.non_trainable_weights) == 3
    assert not pair.others[0].trainable and not pair.others[0].kernel.trainable
    assert pair(x32(3, 4)).node is None  # nothing to differentiate: nothing is recorded
    names = [w.path for w in pair.weights]
    pair.trainable = True
    assert len(pair.trainable_weights) == 3 and pair.others[0].bias.trainable
    assert [w.path for w in pair.weights] == names
    pair.others[0].trainable = False
    assert [w.name for w in pair.trainable_weights] == ["loose"]


def test_what_never_learns_stays_so():
    layer = layers.Layer()
    fixed, free = layer.add_weight((2,), trainable=False), layer.add_weight((2,))
    layer.trainable = False
    layer.trainable = True
    assert free.trainable and not fixed.trainable


def test_frozen_before_it_is_built(device):
    layer = layers.Dense(2)
    layer.trainable = False
    layer.build((None, 3))
    assert layer.trainable_weights == [] and not layer.kernel.trainable
    layer.trainable = True
    assert len(layer.trainable_weights) == 2


def test_get_and_set_weights(device):
    layer = layers.Dense(3)
    with pytest.raises(ValueError, match="not built yet"):
        layer.set_weights([np.ones(3)])
    layer.build((None, 2))
    before = layer.get_weights()
    before[0][:] = 7
    assert not (layer.kernel.numpy() == 7).any()
    layer.set_weights([np.ones((2, 3)), np.arange(3)])
    assert layer.bias.tolist() == [0, 1, 2] and layer.bias.dtype == np.float32
    for wrong, says in [
        ([np.ones((2, 3))], "has 2 weights"),
        ([np.zeros((2, 3)), np.zeros(2)], r"bias' has shape \(3,\)"),
    ]:
        with pytest.raises(ValueError, match=says):
            layer.set_weights(wrong)
        assert layer.kernel.numpy().all()  # nothing has changed


def test_losses_of_the_course(device):
    """002-31: three entries, with the values of the formulas; the activity's is per sample."""
    layer = layers.Dense(
        64,
        kernel_regularizer=regularizers.L1L2(l1=1e-5, l2=1e-4),
        bias_regularizer=regularizers.L2(1e-4),
        bias_initializer="ones",
        activity_regularizer=regularizers.L2(1e-5),
    )
    y = layer(x32(10, 5)).numpy().astype("float64")
    k = layer.kernel.numpy().astype("float64")
    wanted = [1e-5 * (y**2).sum() / 10, 1e-5 * np.abs(k).sum() + 1e-4 * (k**2).sum(), 1e-4 * 64]
    assert len(layer.losses) == 3
    np.testing.assert_allclose([v.item() for v in layer.losses], wanted, rtol=1e-5)
    with nnfast.GradientTape() as tape:
        layer(x32(10, 5))
        cost = layer.losses[0] + layer.losses[1] + layer.losses[2]
    grads = tape.gradient(cost, layer.trainable_weights)
    assert all(np.abs(g.numpy()).max() > 0 for g in grads)


def test_added_losses(device):
    class Costly(layers.Layer):
        def call(self, x):
            self.add_loss(ops.sum(x))
            return x

    class Two(layers.Layer):
        def __init__(self):
            super().__init__()
            self.shared = Costly()

        def call(self, x):
            return self.shared(self.shared(x) * 2)

    two = Two()
    for _ in range(2):  # they last until the next call
        two(np.ones((1, 3)))
        assert [v.item() for v in two.losses] == [3, 6]
    two.shared(np.ones((1, 1)))
    assert [v.item() for v in two.losses] == [1]
    two.clear_losses()
    assert two.losses == []


def test_frozen_weights_cost_nothing():
    layer = layers.Dense(2, kernel_regularizer="l2")
    layer.build((None, 2))
    assert len(layer.losses) == 1
    layer.trainable = False
    assert layer.losses == []


def test_training_reaches_inner_layers(device):
    pair = Pair()
    pair(x32(2, 2))
    assert pair.first.told is None
    pair(x32(2, 2), training=True)
    assert pair.first.told is True and pair.others[1]["deep"].told is True
    pair(x32(2, 2), training=False)
    assert pair.first.told is False
    pair(x32(2, 2))
    assert pair.first.told is None


def test_ways_to_say_training():
    tell = Tell()
    tell(np.ones(2), True)
    assert tell.told is True
    tell(np.ones(2), training=1)
    assert tell.told is True

    class Must(layers.Layer):
        def call(self, x, training):
            return x + 1.0 if training else x

    assert Must()(np.zeros(1)).item() == 0 and Must()(np.zeros(1), training=True).item() == 1

    class KeywordOnly(layers.Layer):
        def call(self, x, *, training=True):
            return x + 1.0 if training else x

    assert KeywordOnly()(np.zeros(1)).item() == 1 and KeywordOnly()(np.zeros(1), training=False).item() == 0


def test_training_is_restored_after_an_error():
    class Bad(layers.Layer):
        def call(self, x, training=None):
            raise ValueError("no")

    with pytest.raises(ValueError):
        Bad()(np.ones(2), training=True)
    tell = Tell()
    tell(np.ones(2))
    assert tell.told is None


def test_errors_name_the_layer(device):
    class Wrong(layers.Layer):
        def call(self, x):
            return ops.dense(x, np.ones((3, 3), "float32"))

    class Outer(layers.Layer):
        def __init__(self):
            super().__init__(name="outer")
            self.inner = Wrong(name="inner")

        def call(self, x):
            return self.inner(x)

    with pytest.raises(ValueError) as e:
        Outer()(x32(2, 5))
    assert "In the layer 'inner' (Wrong), input shape (2, 5)." in str(e.value) and "outer" not in str(e.value)

    class Key(layers.Layer):
        def call(self, x):
            raise KeyError("k")

    with pytest.raises(KeyError, match=r"^'k'$"):
        Key()(x32(1))


def test_output_shape_of_a_layer_of_ones_own(device):
    class Halves(layers.Layer):
        def call(self, x):
            self.add_loss(ops.sum(x))
            return x[:, : x.shape[1] // 2]

    layer = Halves()
    assert layer.compute_output_shape((None, 8)) == (None, 4)
    assert layer.compute_output_shape([32, 8]) == (None, 4) and layer.losses == []
    with pytest.raises(NotImplementedError, match="compute_output_shape"):
        layer.compute_output_shape((None, None, 3))

    class Looks(layers.Layer):  # zeros of a float type are no indices
        def call(self, x):
            return ops.take_rows(np.ones((3, 4), "float32"), x)

    with pytest.raises(NotImplementedError, match="compute_output_shape"):
        Looks().compute_output_shape((None, 8))
    model = nnfast.Sequential([nnfast.Input(shape=(2,), dtype="int32"), Looks(), layers.Flatten(), layers.Dense(2)])
    assert model(np.array([[0, 2]])).shape == (1, 2)


def test_configs_of_layers_of_ones_own(device):
    layer = Scale(power=2, name="s", dtype="float64", trainable=False, activity_regularizer="l2", input_shape=(3,))
    config = layer.get_config()
    again = Scale.from_config(config)
    assert (again.power, again.name, again.dtype, again.trainable) == (2, "s", "float64", False)
    assert again.get_config() == config and again.activity_regularizer.l2 == 0.01

    class Forgets(layers.Layer):
        def __init__(self, size):
            super().__init__()

    with pytest.raises(NotImplementedError, match="'size'"):
        Forgets(3).get_config()


def test_super_init_is_needed():
    class Late(layers.Layer):
        def __init__(self):
            self.size = 3

        def call(self, x):
            return x

    with pytest.raises(RuntimeError, match=r"super\(\).__init__"):
        Late()(np.ones(2))
    with pytest.raises(NotImplementedError, match="call"):
        layers.Layer()(np.ones(2))


def test_several_inputs(device):
    class Add(layers.Layer):
        def build(self, input_shape):
            self.seen = input_shape

        def call(self, inputs, extra=None):
            total = inputs[0] + inputs[1]
            return total if extra is None else total + extra

    add = Add()
    y = add([x64(2, 3), x64(2, 3)], extra=x64(2, 3))
    near(y, (3 * x64(2, 3)).astype("float32"))
    assert add.seen == [(None, 3), (None, 3)] and y.dtype == np.float32


def test_placeholders_are_for_sequential():
    x = nnfast.Input(shape=(3,))
    with pytest.raises(NotImplementedError, match=r"Sequential\(\[Input\(shape=\(3,\)\)"):
        layers.Dense(2)(x)
    with pytest.raises(TypeError, match="placeholder"):
        np.asarray(x)
    assert x.shape == (None, 3) and x.ndim == 2 and x.dtype == "float32" and "SymbolicTensor" in repr(x)


def test_threads_build_once():
    layer = layers.Dense(4)
    made, gate = [], threading.Barrier(8)

    def call():
        gate.wait()
        made.append(layer(x32(2, 3)).numpy())

    threads = [threading.Thread(target=call) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(layer.weights) == 2 and len(made) == 8 and all(np.array_equal(m, made[0]) for m in made)


def test_training_belongs_to_a_thread():
    tell, told = Tell(), []

    class Slow(layers.Layer):
        def call(self, x, training=None):
            t = threading.Thread(target=lambda: (tell(x), told.append(tell.told)))
            t.start()
            t.join()
            return x

    Slow()(np.ones(2), training=True)
    assert told == [None]


# ---- Dense ----


def test_dense_is_its_formula(device, dtype):
    x = x64(5, 7).astype(dtype)
    layer = layers.Dense(4, bias_initializer="ones", dtype=dtype.name)
    near(layer(x), x @ layer.kernel.numpy() + 1)
    steps = x64(2, 3, 7).astype(dtype)
    near(layer(steps), steps @ layer.kernel.numpy() + 1)
    assert layer.compute_output_shape((None, None, 7)) == (None, None, 4)


@pytest.mark.parametrize(
    "name", ["relu", "tanh", "elu", "selu", "softplus", "exponential", "leaky_relu", "sigmoid", "gelu"]
)
def test_dense_activation(name, device):
    x = x64(5, 7)
    layer = layers.Dense(4, activation=name, dtype="float64")
    y = layer(x)
    near(y, FORMULAS[name](x @ layer.kernel.numpy()), scale=10)


def test_dense_keeps_logits(device):
    for name in ("softmax", "sigmoid"):
        layer = layers.Dense(3, activation=name)
        y = layer(x32(2, 4))
        near(y.logits, layers.Dense(3, weights=layer.get_weights())(x32(2, 4)))


def test_dense_activation_can_be_changed(device):
    layer = layers.Dense(3, activation="relu")
    linear = layers.Dense(3)
    layer(x32(2, 4))
    linear(x32(2, 4))
    linear.set_weights(layer.get_weights())
    layer.activation = activations.tanh
    near(layer(x32(2, 4)), np.tanh(linear(x32(2, 4)).numpy()))
    leaky = layers.Dense(3, activation=layers.LeakyReLU(0.5), weights=layer.get_weights())
    near(leaky(x32(2, 4)), activations.leaky_relu(linear(x32(2, 4)), 0.5))
    assert layers.Dense(1, activation=lambda t: t * 2, kernel_initializer="ones")(np.ones((1, 3))).item() == 6


def test_dense_arguments():
    """002-7: each has its effect."""
    assert layers.Dense(2, use_bias=False)(x32(1, 3)).shape == (1, 2)
    layer = layers.Dense(
        2,
        use_bias=True,
        kernel_initializer="zeros",
        bias_initializer=initializers.Constant(3.0),
        kernel_regularizer="l1",
        bias_regularizer="l2",
        activity_regularizer="l1",
        kernel_constraint="non_neg",
        bias_constraint=constraints.MaxNorm(1),
    )
    assert layer(np.ones((2, 3))).tolist() == [[3, 3], [3, 3]]
    assert layer.kernel.regularizer.l1 == 0.01 and layer.bias.regularizer.l2 == 0.01
    assert isinstance(layer.kernel.constraint, constraints.NonNeg) and layer.bias.constraint.max_value == 1
    np.testing.assert_allclose([v.item() for v in layer.losses], [0.01 * 6, 0, 0.01 * 18], rtol=1e-6)
    no_bias = layers.Dense(2, use_bias=False)
    no_bias.build((None, 3))
    assert no_bias.bias is None and len(no_bias.weights) == 1
    for wrong in (0, -1, 2.5, "3", True, None):
        with pytest.raises(ValueError, match="units"):
            layers.Dense(wrong)


def test_dense_gradients(device):
    w, b = x64(4, 3), x64(3, seed=1)
    layer = layers.Dense(3, "tanh", dtype="float64")
    layer.build((None, 4))

    def f(x, w, b):
        layer.kernel, layer.bias = w, b
        return layer(x)

    gradcheck(f, x64(5, 4, seed=2), w, b)


def test_dense_shape_errors(device):
    layer = layers.Dense(3, name="head")
    layer.build((None, 784))
    for shape, says in [
        ((2, 28, 28), ["head", "(..., 784)", "(2, 28, 28)", "Flatten()", "reshape(-1, 784)"]),
        ((2, 783), ["head", "(..., 784)", "(2, 783)"]),
        ((784,), ["head", "(batch, ..., features)", "reshape(1, -1)"]),
    ]:
        with pytest.raises(ValueError) as e:
            layer(np.zeros(shape))
        assert all(s in str(e.value) for s in says), str(e.value)
    with pytest.raises(ValueError, match="last dimension"):
        layers.Dense(3).build((None, None))
    assert layer(np.zeros((2, 784))).shape == (2, 3)


def test_dense_without_samples(device):
    assert layers.Dense(3)(np.zeros((0, 4))).shape == (0, 3)


# ---- activations ----

FORMULAS = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "selu": lambda x: SELU[0] * np.where(x > 0, x, SELU[1] * (np.exp(x) - 1)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "tanh": np.tanh,
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "exponential": np.exp,
    "gelu": lambda x: x * 0.5 * (1 + ERF(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
}
POINTS = np.array([[-7.3, -2.9, -0.6, -0.1], [0.2, 0.9, 3.1, 7.7]])


@pytest.mark.parametrize("name", FORMULAS)
def test_activation_functions(name, device, dtype):
    f = activations.get(name)
    near(f(POINTS.astype(dtype)), FORMULAS[name](POINTS).astype(dtype), scale=2)
    near(layers.Activation(name, dtype=dtype.name)(POINTS), FORMULAS[name](POINTS).astype(dtype), scale=2)
    assert activations.get(activations.serialize(f)) is f and activations.get(name.title().replace("_", "")) is f


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_activation_gradients(name, device):
    gradcheck(lambda x: activations.get(name)(x) * 1.0, POINTS)


def test_activation_arguments(device):
    x = POINTS
    near(activations.relu(x, 0.1, 5.0, 0.5), np.where(x >= 0.5, np.minimum(x, 5), 0.1 * (x - 0.5)))
    near(activations.relu(x, max_value=0.5), np.clip(x, 0, 0.5))
    near(activations.relu(x, negative_slope=0.3), np.where(x > 0, x, 0.3 * x))
    near(activations.leaky_relu(x, 0.01), np.where(x > 0, x, 0.01 * x))
    near(activations.elu(x, 2.0), np.where(x > 0, x, 2 * (np.exp(x) - 1)))
    near(activations.softmax(x, axis=0), np.exp(x) / np.exp(x).sum(0))
    near(activations.log_softmax(x, axis=0), x - np.log(np.exp(x).sum(0)))
    tanh = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    near(activations.gelu(x, approximate=True), tanh)
    assert activations.get(None) is activations.linear
    for wrong, error in [
        (lambda: activations.get("rleu"), ValueError),
        (lambda: activations.get(3), TypeError),
        (lambda: activations.relu(x, max_value=-1), ValueError),
    ]:
        with pytest.raises(error, match="Received"):
            wrong()
    f = lambda t: t  # noqa: E731
    assert activations.get(f) is f and activations.deserialize("mine", {"mine": f}) is f


def test_relu_layer(device):
    x = POINTS
    for layer, wanted in [
        (layers.ReLU(), np.maximum(x, 0)),
        (layers.ReLU(max_value=2.0), np.clip(x, 0, 2)),
        (layers.ReLU(negative_slope=0.2), np.where(x > 0, x, 0.2 * x)),
        (layers.ReLU(threshold=1.0), np.where(x >= 1, x, 0)),
        (layers.ReLU(3.0, 0.1, 1.0), np.where(x >= 1, np.minimum(x, 3), 0.1 * (x - 1))),
    ]:
        near(layer(x), wanted.astype("float32"))
    for name in ("max_value", "negative_slope", "threshold"):
        with pytest.raises(ValueError, match=f"{name}=-1"):
            layers.ReLU(**{name: -1})
    with pytest.raises(ValueError, match="threshold=None"):
        layers.ReLU(threshold=None)


def test_slopes_differ(device):
    """0.3 in the layer, 0.2 in the function, as in Keras."""
    assert layers.LeakyReLU()([-1.0]).item() == np.float32(-0.3)
    assert activations.leaky_relu([-1.0]).item() == np.float32(-0.2)
    assert layers.LeakyReLU(0.1)([-1.0]).item() == layers.LeakyReLU(alpha=0.1)([-1.0]).item() == np.float32(-0.1)
    with pytest.raises(ValueError, match="negative_slope=None"):
        layers.LeakyReLU(None)


def test_elu_and_softmax_layers(device):
    near(layers.ELU(0.5)(POINTS), np.where(POINTS > 0, POINTS, 0.5 * (np.exp(POINTS) - 1)).astype("float32"))
    near(layers.Softmax()(POINTS), FORMULAS["softmax"](POINTS).astype("float32"))
    near(layers.Softmax(axis=0)(POINTS), (np.exp(POINTS) / np.exp(POINTS).sum(0)).astype("float32"))
    near(layers.Softmax(axis=(0, 1))(POINTS), (np.exp(POINTS) / np.exp(POINTS).sum()).astype("float32"))


def test_prelu(device):
    layer = layers.PReLU(
        alpha_initializer=initializers.Constant(0.5), alpha_regularizer="l1", alpha_constraint="non_neg"
    )
    near(layer(POINTS), np.where(POINTS > 0, POINTS, 0.5 * POINTS).astype("float32"))
    assert layer.alpha.shape == (4,) and layer.alpha.regularizer.l1 == 0.01
    assert isinstance(layer.alpha.constraint, constraints.NonNeg) and abs(layer.losses[0].item() - 0.02) < 1e-6
    assert layers.PReLU()(POINTS).tolist() == np.maximum(POINTS, 0).astype("float32").tolist()
    shared = layers.PReLU(shared_axes=[1, 2])
    shared(x32(2, 5, 4, 3))
    assert shared.alpha.shape == (1, 1, 3) and shared(x32(2, 7, 6, 3)).shape == (2, 7, 6, 3)
    one = layers.PReLU(shared_axes=1)
    one.build((None, None, 3))
    assert one.alpha.shape == (1, 3)
    for make, says in [
        (lambda: layer(x32(2, 5)), "alpha of shape"),
        (lambda: layers.PReLU(shared_axes=[3])(x32(2, 5)), "shared_axes"),
        (lambda: layers.PReLU().build((None, None)), "every size"),
    ]:
        with pytest.raises(ValueError, match=says):
            make()

    def f(x, alpha):
        layer.alpha = alpha
        return layer(x)

    layer.dtype = "float64"
    gradcheck(f, POINTS, np.array([0.1, 0.2, 0.3, 0.4]))


# ---- Conv2D ----

CONV = [
    {},
    {"strides": 2},
    {"strides": (2, 1), "padding": "same"},
    {"padding": "SAME", "kernel_size": (2, 4)},
    {"dilation_rate": (2, 1), "kernel_size": (3, 2)},
    {"groups": 2},
    {"groups": 4, "filters": 8},
    {"use_bias": False},
    {"activation": "relu"},
    {"activation": "sigmoid", "padding": "same"},
]


@pytest.mark.parametrize("options", CONV, ids=str)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_conv2d_arguments(options, data_format, device):
    """Against a convolution by definition, in float64."""
    arguments = {"filters": 6, "kernel_size": 3, "bias_initializer": "ones", **options}
    last = x64(2, 7, 6, 4)
    layer = layers.Conv2D(**arguments, data_format=data_format, dtype="float64")
    x = last if data_format == "channels_last" else last.transpose(0, 3, 1, 2)
    y = np.asarray(layer(x))
    assert layer.output_shape == (None, *y.shape[1:])
    got = y if data_format == "channels_last" else y.transpose(0, 2, 3, 1)
    w = layer.kernel.numpy()
    strides, dilation = (np.broadcast_to(arguments.get(n, 1), 2) for n in ("strides", "dilation_rate"))
    groups, pads = arguments.get("groups", 1), []
    for i in (0, 1):
        n, k = last.shape[1 + i], (w.shape[i] - 1) * dilation[i] + 1
        same = arguments.get("padding", "valid").lower() == "same"
        total = max((-(-n // strides[i]) - 1) * strides[i] + k - n, 0) if same else 0
        pads.append((total // 2, total - total // 2))
    padded = np.pad(last, ((0, 0), *pads, (0, 0)))
    wanted = np.zeros(got.shape)
    per_group = layer.filters // groups
    for p, q, f in np.ndindex(*got.shape[1:]):
        g = f // per_group
        patch = padded[:, p * strides[0] :, q * strides[1] :][:, : (w.shape[0] - 1) * dilation[0] + 1 : dilation[0]]
        patch = patch[:, :, : (w.shape[1] - 1) * dilation[1] + 1 : dilation[1], g * w.shape[2] : (g + 1) * w.shape[2]]
        wanted[:, p, q, f] = (patch * w[..., f]).sum((1, 2, 3)) + layer.use_bias
    near(got, FORMULAS[arguments.get("activation", "linear")](wanted))


def test_conv2d_weights(device):
    layer = layers.Conv2D(
        32,
        (3, 3),
        padding="same",
        kernel_initializer=initializers.Constant(0.5),
        bias_initializer="ones",
        kernel_regularizer="l1",
        bias_regularizer="l2",
        activity_regularizer="l2",
        kernel_constraint="non_neg",
        bias_constraint="unit_norm",
    )
    y = layer(np.ones((1, 3, 3, 1)))
    assert layer.count_params() == 320 and y.numpy()[0, 1, 1, 0] == 5.5
    assert layer.kernel.shape == (3, 3, 1, 32) and layer.bias.shape == (32,)
    assert isinstance(layer.kernel.constraint, constraints.NonNeg) and isinstance(
        layer.bias.constraint, constraints.UnitNorm
    )
    wanted = [0.01 * (y.numpy() ** 2).sum(), 0.01 * 0.5 * 288, 0.01 * 32]
    np.testing.assert_allclose([v.item() for v in layer.losses], wanted, rtol=1e-5)
    assert layers.Convolution2D is layers.Conv2D


@pytest.mark.parametrize("options", [{}, {"strides": 2, "padding": "same", "groups": 2, "activation": "tanh"}], ids=str)
def test_conv2d_gradients(options, device):
    layer = layers.Conv2D(2, 2, dtype="float64", **options)
    layer.build((None, 4, 3, 2))
    shape = layer.kernel.shape

    def f(x, w, b):
        layer.kernel, layer.bias = w, b
        return layer(x)

    gradcheck(f, x64(2, 4, 3, 2), x64(*shape, seed=1), x64(2, seed=2))


@pytest.mark.parametrize(
    "wrong, error, says",
    [
        (lambda: layers.Conv2D(0, 3), ValueError, "filters=0"),
        (lambda: layers.Conv2D(4, (3, 3, 3)), ValueError, "kernel_size"),
        (lambda: layers.Conv2D(4, 3, strides=0), ValueError, "strides"),
        (lambda: layers.Conv2D(4, 3, padding="full"), ValueError, "padding='full'"),
        (lambda: layers.Conv2D(4, 3, data_format="NHWC"), ValueError, "data_format"),
        (lambda: layers.Conv2D(4, 3, dilation_rate=0), ValueError, "dilation_rate"),
        (lambda: layers.Conv2D(4, 3, groups=3), ValueError, "multiple of groups"),
        (lambda: layers.Conv2D(4, 3, groups=2)(x32(1, 5, 5, 3)), ValueError, "groups=2"),
        (lambda: layers.Conv2D(4, 3)(x32(2, 28, 28)), ValueError, r"reshape\(-1, 28, 28, 1\)"),
        (lambda: layers.Conv2D(4, 3, data_format="channels_first")(x32(2, 28, 28)), ValueError, r"\(-1, 1, 28, 28\)"),
        (lambda: layers.Conv2D(4, 3)(x32(2, 784)), ValueError, "reshaping first"),
        (lambda: layers.Conv2D(4, 3)(x32(2, 2, 5, 1)), ValueError, "larger than its input"),
        (lambda: layers.Conv2D(4, 3).build((None, 5, 5, None)), ValueError, "number of channels"),
        (lambda: layers.MaxPooling2D(0), ValueError, "pool_size"),
        (lambda: layers.MaxPooling2D(3)(x32(1, 2, 5, 1)), ValueError, "larger than its input"),
        (lambda: layers.MaxPooling2D()(x32(1, 2, 5)), ValueError, "expects images"),
        (lambda: layers.AveragePooling2D(2, padding="some"), ValueError, "padding"),
        (lambda: layers.GlobalAveragePooling2D()(x32(1, 2)), ValueError, "expects images"),
    ],
)
def test_wrong_images(wrong, error, says):
    with pytest.raises(error, match=says):
        wrong()


def test_wrong_channels():
    layer = layers.Conv2D(4, 3, name="c")
    layer.build((None, 8, 8, 3))
    with pytest.raises(ValueError, match="built for 3 input channels") as e:
        layer(x32(2, 3, 8, 8))
    assert "c" in str(e.value) and "channels_first" in str(e.value)


# ---- pooling ----


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "options",
    [{}, {"pool_size": 3}, {"pool_size": (2, 3), "strides": (1, 2)}, {"pool_size": 3, "strides": 2, "padding": "same"}],
)
@pytest.mark.parametrize("cls", [layers.MaxPooling2D, layers.AveragePooling2D])
def test_pooling_arguments(cls, options, data_format, device):
    options = {"pool_size": (2, 2), **options}
    last = x32(2, 7, 6, 3)
    layer = cls(**options, data_format=data_format)
    y = np.asarray(layer(last if data_format == "channels_last" else last.transpose(0, 3, 1, 2)))
    assert layer.output_shape == (None, *y.shape[1:])
    got = y if data_format == "channels_last" else y.transpose(0, 2, 3, 1)
    (ph, pw), strides = np.broadcast_to(options["pool_size"], 2), np.broadcast_to(layer.strides, 2)
    pads = [0, 0]
    if options.get("padding") == "same":
        pads = [max((-(-n // s) - 1) * s + k - n, 0) // 2 for n, s, k in zip((7, 6), strides, (ph, pw))]
    wanted = np.zeros(got.shape, "float32")
    for p, q in np.ndindex(*got.shape[1:3]):
        top, left = p * strides[0] - pads[0], q * strides[1] - pads[1]
        window = last[:, max(top, 0) : top + ph, max(left, 0) : left + pw]
        wanted[:, p, q] = window.max((1, 2)) if cls is layers.MaxPooling2D else window.mean((1, 2))
    near(got, wanted)


def test_pooling_defaults():
    assert layers.MaxPooling2D().pool_size == layers.MaxPooling2D().strides == (2, 2)
    assert layers.MaxPool2D is layers.MaxPooling2D and layers.AvgPool2D is layers.AveragePooling2D
    assert layers.MaxPooling2D().compute_output_shape((None, None, 5, 3)) == (None, None, 2, 3)
    with pytest.raises(TypeError):
        layers.AveragePooling2D()


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_global_pooling(keepdims, data_format, device):
    x = x32(2, 4, 5, 3)
    axes = (1, 2) if data_format == "channels_last" else (2, 3)
    for cls, f in ((layers.GlobalMaxPooling2D, np.max), (layers.GlobalAveragePooling2D, np.mean)):
        layer = cls(data_format=data_format, keepdims=keepdims)
        y = layer(x)
        near(y, f(x, axes, keepdims=keepdims))
        assert layer.output_shape == (None, *y.shape[1:])
    assert layers.GlobalMaxPool2D is layers.GlobalMaxPooling2D
    assert layers.GlobalAvgPool2D is layers.GlobalAveragePooling2D


# ---- dropout ----


def test_dropout(device):
    layer = layers.Dropout(0.4)
    x = np.ones((200, 50), "float32")
    assert layer(x).tolist() == x.tolist() and layer(x, training=False).tolist() == x.tolist()
    y = layer(x, training=True).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.6)}
    assert abs((y == 0).mean() - 0.4) < 0.02
    assert not np.array_equal(y, layer(x, training=True).numpy())
    assert layers.Dropout(0)(x, training=True).tolist() == x.tolist()
    assert not layers.Dropout(1)(x, training=True).numpy().any()


def test_dropout_noise_shape(device):
    x = np.ones((6, 40, 3), "float32")
    y = layers.Dropout(0.5, noise_shape=(None, 1, 3))(x, training=True).numpy()
    assert (y == y[:, :1]).all() and 0 < (y == 0).mean() < 1
    with pytest.raises(ValueError, match="noise_shape"):
        layers.Dropout(0.5, noise_shape=(6, 7, 3))(x, training=True)


def test_dropout_seed(device):
    x = np.ones((20, 20), "float32")
    a, b = layers.Dropout(0.5, seed=3), layers.Dropout(0.5, seed=3)
    first = a(x, training=True).numpy()
    assert np.array_equal(first, b(x, training=True).numpy())
    assert not np.array_equal(first, a(x, training=True).numpy())  # one stream, not one mask
    free = layers.Dropout(0.5)
    nnfast.utils.set_random_seed(1)
    first = free(x, training=True).numpy()
    nnfast.utils.set_random_seed(1)
    assert np.array_equal(first, free(x, training=True).numpy())


def test_dropout_gradient_is_its_mask(device):
    x = nnfast.Variable(np.ones((10, 10), "float32"))
    layer = layers.Dropout(0.5)
    with nnfast.GradientTape() as tape:
        y = layer(x, training=True)
    assert np.array_equal(tape.gradient(y, x).numpy(), y.numpy())


@pytest.mark.parametrize("rate", [-0.1, 1.1, "a", None, True, float("nan")])
def test_wrong_rate(rate):
    with pytest.raises(ValueError, match="rate"):
        layers.Dropout(rate)


# ---- shapes ----


def test_flatten(device):
    x = x32(2, 3, 4, 5)
    assert np.array_equal(layers.Flatten()(x).numpy(), x.reshape(2, 60))
    first = layers.Flatten(data_format="channels_first")(x).numpy()
    assert np.array_equal(first, x.transpose(0, 2, 3, 1).reshape(2, 60))
    assert layers.Flatten()(x32(4)).shape == (4, 1) and layers.Flatten()(np.zeros((0, 3, 4))).shape == (0, 12)
    assert layers.Flatten().compute_output_shape((None, 3, None)) == (None, None)
    assert layers.Flatten().compute_output_shape((None, 3, 5)) == (None, 15)
    with pytest.raises(ValueError, match="batch"):
        layers.Flatten()(1.0)


def test_reshape(device):
    x = x32(2, 3, 4)
    for target, shape in [((12,), (2, 12)), ((-1, 2), (2, 6, 2)), ((4, 3), (2, 4, 3)), ((2, -1, 3), (2, 2, 2, 3))]:
        layer = layers.Reshape(target)
        assert np.array_equal(layer(x).numpy(), x.reshape(shape)) and layer.output_shape == (None, *shape[1:])
    assert layers.Reshape((-1, 2)).compute_output_shape((None, None, 4)) == (None, None, 2)
    assert layers.Reshape((5, 0))(np.zeros((2, 0))).shape == (2, 5, 0)
    for wrong, says in [
        (lambda: layers.Reshape((-1, -1)), "one of which may be -1"),
        (lambda: layers.Reshape((5,))(x), "12 numbers do not fill"),
        (lambda: layers.Reshape((-1, 5))(x), "12 numbers do not fill"),
    ]:
        with pytest.raises(ValueError, match=says):
            wrong()


def test_permute(device):
    x = x32(2, 3, 4, 5)
    layer = layers.Permute((3, 1, 2))
    assert np.array_equal(layer(x).numpy(), x.transpose(0, 3, 1, 2)) and layer.output_shape == (None, 5, 3, 4)
    for wrong in (lambda: layers.Permute((0, 1)), lambda: layers.Permute((1, 1)), lambda: layers.Permute((2, 1))(x)):
        with pytest.raises(ValueError, match="dims"):
            wrong()


@pytest.mark.parametrize(
    "layer", [layers.Flatten(), layers.Reshape((2, -1)), layers.Permute((2, 1)), layers.Rescaling(3.0)]
)
def test_gradients_through_shapes(layer, device):
    layer.dtype = "float64"
    gradcheck(lambda x: layer(x) * 1.0, x64(2, 3, 4))


def test_rescaling(device):
    image = np.array([[[[0, 255]]]], "uint8")
    near(layers.Rescaling(1 / 255)(image), np.array([[[[0, 1]]]], "float32"))
    near(layers.Rescaling(1 / 127.5, offset=-1)(image), np.array([[[[-1, 1]]]], "float32"))
    assert layers.Rescaling([1.0, 2.0], offset=[0.0, 1.0])(np.ones((1, 2))).tolist() == [[1, 3]]


def test_input_layer():
    nnfast.utils.clear_session()
    assert nnfast.Input(shape=(28, 28)).name == "input_layer" and nnfast.Input((3,)).name == "input_layer_1"
    assert nnfast.Input(batch_shape=(8, 3)).shape == (8, 3) and nnfast.Input((3,), batch_size=8).shape == (8, 3)
    assert nnfast.Input((3,), dtype="int32", name="ids").dtype == "int32" and nnfast.Input((3,), name="a").name == "a"
    layer = layers.InputLayer(shape=(3,))
    assert layer.output_shape == (None, 3) and layer.count_params() == 0
    assert layers.InputLayer.from_config(layer.get_config()).batch_shape == (None, 3)
    for wrong in (
        {},
        {"shape": (0,)},
        {"shape": (3,), "sparse": True},
        {"shape": (3,), "tensor": 1},
        {"shape": (3,), "optional": True},
        {"shape": (3,), "dtype": "str"},
    ):
        with pytest.raises(ValueError, match=r"\[Input\]"):
            nnfast.Input(**wrong)


# ---- configs ----

MADE = [
    layers.Dense(3, "tanh", False, "he_normal", kernel_regularizer="l2", kernel_constraint="non_neg", name="d"),
    layers.Conv2D(4, (3, 2), 2, "same", "channels_first", groups=2, activation="relu", bias_regularizer="l1"),
    layers.MaxPooling2D(3, 2, "same", "channels_first"),
    layers.AveragePooling2D(3),
    layers.GlobalMaxPooling2D("channels_first", True),
    layers.GlobalAveragePooling2D(keepdims=True),
    layers.Activation("gelu"),
    layers.ReLU(6.0, 0.1, 0.2),
    layers.LeakyReLU(0.1),
    layers.PReLU("ones", "l1", "non_neg", [1]),
    layers.ELU(0.3),
    layers.Softmax([1, 2]),
    layers.Dropout(0.3, (None, 1), 4, dtype="float64"),
    layers.Flatten("channels_first"),
    layers.Reshape((-1, 2), input_shape=(4,)),
    layers.Permute((2, 1)),
    layers.Rescaling(0.1, 2.0),
    layers.Identity(),
    layers.InputLayer((3,), name="in"),
]


@pytest.mark.parametrize("layer", MADE, ids=lambda m: type(m).__name__)
def test_configs_come_back(layer):
    import json

    config = layers.serialize(layer)
    again = layers.deserialize(json.loads(json.dumps(config)))
    assert type(again) is type(layer) and json.dumps(layers.serialize(again)) == json.dumps(config)


def test_every_layer_is_in_the_table_above():
    assert {type(m) for m in MADE} == set(layers.CLASSES.values()) - {layers.Layer}


def test_unknown_layers():
    with pytest.raises(ValueError, match="Did you mean 'Dense'"):
        layers.deserialize({"class_name": "Dnse", "config": {}})
    made = layers.deserialize({"class_name": "Scale", "config": {"power": 3}}, custom_objects={"Scale": Scale})
    assert made.power == 3


def test_reference_agrees_with_the_module_that_computes():
    """A network of every kind of layer gives the same on every device, within float32."""
    stack = [
        layers.Rescaling(0.5),
        layers.Conv2D(4, 3, padding="same", activation="relu", kernel_initializer=initializers.HeNormal(seed=1)),
        layers.MaxPooling2D(),
        layers.PReLU(shared_axes=[1, 2]),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(5, "softmax", kernel_initializer=initializers.GlorotUniform(seed=2)),
    ]
    results = []
    for name in ("cpu", "reference"):
        nnfast.set_device(name)
        y = x32(3, 8, 8, 2)
        for layer in stack:
            y = layer(y)
        results.append(y.numpy())
    near(results[0], results[1])
    assert reference.gemm is not None
