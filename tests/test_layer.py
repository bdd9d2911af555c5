"""Layer: what every layer does, whatever it computes."""

import copy
import threading

import numpy as np
import pytest
from arrays import near, x32, x64

import nnfast
from nnfast import constraints, layers, ops, regularizers


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


def test_what_a_layer_holds_is_found_again_after_each_change():
    """Layers remember what was found below them."""

    class Holder(nnfast.Model):
        def call(self, x):
            return x

    def dense():
        layer = layers.Dense(2, use_bias=False)
        layer.build((None, 3))
        return layer

    def found():
        return len(root.weights), [m.name for m in root.metrics]

    root, child = Holder(), Holder()
    assert found() == (0, [])
    root.child = child
    child.one = dense()
    assert found() == (1, [])
    root.many, child.table = [], {}
    assert found() == (1, [])
    root.many.append(dense())
    assert found() == (2, [])
    child.table["a"] = [dense()]
    assert found() == (3, [])
    child.table["a"][0] = child.one  # another layer in the place of one, by the same number of them
    assert found() == (2, [])
    root.many[0] = child.one
    assert found() == (1, [])
    child.seen = nnfast.metrics.Mean("seen")
    root.several = [nnfast.metrics.Sum("total")]
    assert found() == (1, ["total", "seen"])
    root.several.clear()
    assert found() == (1, ["seen"])
    del child.seen
    child.one = None
    root.many.clear()
    assert found() == (1, [])  # the table still has it
    child.table = None
    assert found() == (0, [])
    root.child = dense()
    twin = copy.deepcopy(root)
    root.child = None
    assert found() == (0, []) and len(twin.weights) == 1


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
    assert layer.compute_output_shape([32, 8]) == (32, 4) and layer.losses == []
    assert layer.compute_output_shape((None, None, 3)) == (None, None, 3)

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
        """As in Keras, a config has what __init__ was given, kept or not."""

        def __init__(self, size, *more, inner=None, factor=0.5, **kwargs):
            super().__init__(**kwargs)
            self.inside = layers.Dense(size) if inner is None else inner
            self.factor = 2 * factor

    config = Forgets(3, name="f", inner=layers.Dense(4, name="d")).get_config()
    assert config["size"] == 3 and config["inner"]["config"]["units"] == 4 and config["factor"] == 1.0
    assert Forgets(size=5).get_config()["size"] == 5 and Forgets(3).get_config()["inner"] is None
    assert [v.name for v in Forgets(3, inner=Scale(name="i"))._own()[0]] == ["i"]
    assert not layers.Dense(3)._given[0], "of the package's own classes nothing more is kept alive"


def test_dtypes_have_keras_names():
    layer = layers.Dense(2, dtype="float64")
    assert layer.compute_dtype == layer.variable_dtype == layer.dtype == "float64"


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


def test_placeholders_have_no_values():
    x = nnfast.Input(shape=(3,))
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


# ---- build for several inputs, as in Keras 3.15.1 (which has the size of the batch where None stands here) ----


@nnfast.saving.register_keras_serializable("tests")
class Bilinear(layers.Layer):
    """a v b^T, for each pair of rows."""

    def build(self, b_shape, a_shape):
        self.shapes = a_shape, b_shape
        self.v = self.add_weight((a_shape[-1], b_shape[-1]), "glorot_uniform", name="v")

    def call(self, a, b):
        return ops.matmul(ops.matmul(a, self.v), ops.swapaxes(b, 1, 2))

    def compute_output_shape(self, a_shape, b_shape):
        return (a_shape[0], a_shape[1], b_shape[1])


def test_build_gets_the_shape_of_each_input(tmp_path):
    a, b = np.ones((2, 5, 3)), np.ones((2, 6, 4))
    for call in (lambda layer: layer(a, b), lambda layer: layer(a, b=b), lambda layer: layer(b=b, a=a)):
        layer = Bilinear()
        assert call(layer).shape == (2, 5, 6)
        assert layer.shapes == ((None, 5, 3), (None, 6, 4)) and layer.v.shape == (3, 4)
    x, y = nnfast.Input((5, 3)), nnfast.Input((6, 4))
    model = nnfast.Model([x, y], Bilinear()(x, y))
    assert model.layers[-1].get_build_config() == {
        "shapes_dict": {"a_shape": (None, 5, 3), "b_shape": (None, 6, 4)}
    }  # fmt: skip
    model.save(tmp_path / "m.keras")
    again = nnfast.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict([a, b], verbose=0), model.predict([a, b], verbose=0))


def test_build_of_one_argument_or_of_lists():
    a, b = np.ones((2, 3)), np.ones((2, 4))
    seen = []

    class First(layers.Layer):
        def build(self, input_shape):
            seen.append(input_shape)

        def call(self, a, b):
            return a

    class Several(layers.Layer):
        def build(self, xs_shape, y_shape=None):
            seen.append((xs_shape, y_shape))

        def call(self, xs, y=None, flag=False):
            return xs[0]

    First()(a, b)
    Several()([a, b])
    Several()([a, b], b, flag=True)
    Several()([a, None], y=None)
    pair = [(None, 3), (None, 4)]
    assert seen == [(None, 3), (pair, None), (pair, (None, 4)), ([(None, 3), None], None)]


@pytest.mark.parametrize("names", ["shape_a, shape_b", "c_shape, a_shape"])
def test_build_whose_arguments_are_not_those_of_call(names):
    class Wrong(layers.Layer):
        exec(f"def build(self, {names}): pass")

        def call(self, a, b):
            return a

    for inputs in ((np.ones((2, 3)), np.ones((2, 4))), (nnfast.Input((3,)), nnfast.Input((4,)))):
        with pytest.raises(ValueError, match=rf"build\(self, a_shape, b_shape\).*with {names.split(',')[0]}, call"):
            Wrong()(*inputs)
