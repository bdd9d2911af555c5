"""Functional models: the graph, several inputs and outputs in training, shared layers, nesting, configs, errors."""

import inspect
import json
import re
import sys

import numpy as np
import pytest
from compare import assert_close

import nnfast
from nnfast import Input, Model, layers, models, ops


def data(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def again(model):
    """The model through its JSON, with the same weights."""
    made = type(model).from_config(json.loads(json.dumps(model.get_config())))
    made.set_weights(model.get_weights())
    return made


def same(a, b):
    """Are two structures of arrays equal?"""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        a, b = list(a.values()), [b[k] for k in a]
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for u, v in zip(a, b):
            same(u, v)
    else:
        np.testing.assert_array_equal(a, b)


def tickets(vocabulary=10000, tags=100):  # 002-34
    title = Input(shape=(vocabulary,), name="title")
    body = Input(shape=(vocabulary,), name="text_body")
    tag = Input(shape=(tags,), name="tags")
    features = layers.Concatenate()([title, body, tag])
    features = layers.Dense(64, activation="relu")(features)
    priority = layers.Dense(1, activation="sigmoid", name="priority")(features)
    department = layers.Dense(4, activation="softmax", name="department")(features)
    return Model(inputs=[title, body, tag], outputs=[priority, department])


# ---- the course ----


def test_002_33():
    """A Sequential built late and one with an Input: 906 parameters, and a model cut out of it."""
    model = nnfast.Sequential(name="my_example_model")
    model.add(layers.Dense(64, activation="relu", name="my_first_layer"))
    model.add(layers.Dense(10, activation="softmax", name="my_last_layer"))
    model.build((None, 3))
    assert model.count_params() == 906
    cut = Model(model.inputs, model.get_layer("my_first_layer").output)
    x = data(5, 3)
    np.testing.assert_array_equal(cut.predict(x, verbose=0), model.layers[0](x).numpy())
    early = nnfast.Sequential([Input(shape=(3,)), *models.clone_model(model).layers])
    assert early.count_params() == 906 and early.output_shape == (None, 10)


def test_002_34(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    nnfast.utils.clear_session()
    model = tickets()
    assert model.count_params() == 1_286_789
    assert [layer.name for layer in model.layers] == [
        *("title", "text_body", "tags", "concatenate", "dense", "priority", "department")
    ]
    texts = []
    model.summary(print_fn=texts.append)
    assert "Connected to" in texts[0] and "text_body[0][0]" in texts[0] and "1,286,464" in texts[0]
    assert " Total params: 1,286,789 (4.91 MB)" in texts[0]
    assert model.input_shape == [(None, 10000), (None, 10000), (None, 100)]
    assert model.output_shape == [(None, 1), (None, 4)]
    assert model.input_names == ["title", "text_body", "tags"] and model.output_names == ["priority", "department"]


def test_002_34_trains():
    model = tickets(30, 10)
    x = {"title": data(50, 30), "text_body": data(50, 30, seed=1), "tags": data(50, 10, seed=2)}
    y = {"priority": np.ones((50, 1)), "department": np.eye(4)[np.arange(50) % 4]}
    model.compile(
        optimizer="rmsprop",
        loss={"priority": "mean_squared_error", "department": "categorical_crossentropy"},
        metrics={"priority": ["mean_absolute_error"], "department": ["accuracy"]},
    )
    history = model.fit(x, y, epochs=3, verbose=0, validation_split=0.2).history
    keys = ["loss", "priority_loss", "department_loss", "priority_mean_absolute_error", "department_accuracy"]
    assert set(history) == {*keys, *("val_" + k for k in keys)}
    assert history["loss"][-1] < history["loss"][0]
    for total, a, b in zip(history["loss"], history["priority_loss"], history["department_loss"]):
        assert total == pytest.approx(a + b, rel=1e-6)
    named = model.evaluate(x, y, verbose=0, return_dict=True)
    order = ["loss", "priority_loss", "department_loss", "department_accuracy", "priority_mean_absolute_error"]
    assert model.evaluate(list(x.values()), list(y.values()), verbose=0) == [named[k] for k in order]
    priority, department = model.predict(x, verbose=0)
    assert priority.shape == (50, 1) and department.shape == (50, 4)


# ---- the graph ----


def test_layers_called_on_symbolic_tensors_compute_nothing():
    x = Input(shape=(4, 6), dtype="int32", name="x")
    assert x.shape == (None, 4, 6) and x.dtype == "int32" and x.name == "x"
    y = layers.Dense(3)(x)
    assert y.shape == (None, 4, 3) and y.dtype == "float32"
    assert layers.Flatten()(x).dtype == "int32"
    for use in (iter, len, bool, np.asarray):
        with pytest.raises(TypeError, match="placeholder"):
            use(x)


def test_order_and_names_are_those_of_keras():
    a, b = Input((4,), name="a"), Input((5,), name="b")
    x = layers.Dense(3, name="x")(a)
    y = layers.Dense(3, name="y2")(layers.Dense(3, name="y1")(b))
    model = Model([a, b], layers.Add(name="sum")([x, y]))
    assert [layer.name for layer in model.layers] == ["b", "a", "y1", "x", "y2", "sum"]
    assert model.get_layer("x") is model.layers[3] and model.layers[3].output is x
    assert [w.path for w in model.weights][:2] == ["y1/kernel", "y1/bias"]


@pytest.mark.parametrize("structure", ["one", "list", "tuple", "dict"])
def test_structures_of_inputs_and_outputs(structure, device):
    a, b = Input((3,), name="a"), Input((3,), name="b")
    total, difference = layers.Add()([a, b]), layers.Subtract()([a, b])
    x, z = data(4, 3), data(4, 3, seed=1)
    if structure == "one":
        model = Model(a, layers.Rescaling(2.0)(a))
        for given in (x, [x], {"a": x}, (x,)):
            np.testing.assert_array_equal(model.predict(given, verbose=0), 2 * x)
        return
    make = {"list": list, "tuple": tuple, "dict": lambda v: dict(zip(("s", "d"), v))}[structure]
    inputs = {"a": a, "b": b} if structure == "dict" else make([a, b])
    model = Model(inputs, make([total, difference]))
    for given in ([x, z], (x, z), {"b": z, "a": x}, {"b": z, "a": x, "unused": x}):
        got = model(given)
        assert type(got) is {"list": list, "tuple": tuple, "dict": dict}[structure]
        same(model.predict(given, verbose=0), make([x + z, x - z]))
        same(model.predict_on_batch(given), make([x + z, x - z]))
    same(again(model).predict([x, z], verbose=0), model.predict([x, z], verbose=0))


def test_arithmetic_and_slices(device):
    x, y = Input((4,)), Input((4,))
    out = [2.0 - x, x * y / 2.0, -x[:, 1:], abs(x) ** 2.0, x[:, 0] + 1.0, x + np.arange(4, dtype="float32"), x > 0.0]
    assert [t.shape for t in out] == [(None, 4), (None, 4), (None, 3), (None, 4), (None,), (None, 4), (None, 4)]
    model = Model([x, y], out)
    a, b = data(3, 4), data(3, 4, seed=1)
    wanted = [2 - a, a * b / 2, -a[:, 1:], np.abs(a) ** 2, a[:, 0] + 1, a + np.arange(4, dtype="float32"), a > 0]
    for one in (model, again(model)):
        for got, want in zip(one.predict([a, b], verbose=0), wanted):
            np.testing.assert_allclose(got, want, rtol=1e-6)


def test_sizes_that_are_not_known():
    x = Input((None, 3))
    y = layers.Lambda(lambda t: t[:, ::2])(x)
    assert y.shape == (None, None, 3) and layers.Dense(2)(x).shape == (None, None, 2)
    model = Model(x, y)
    assert model.predict(data(2, 7, 3), verbose=0).shape == (2, 4, 3)


def test_shared_layers_add_their_gradients(device):
    """A layer that is called twice has one kernel; its gradient is the sum over both calls."""
    a, b = Input((3,)), Input((3,))
    shared = layers.Dense(2, use_bias=False, name="shared")
    model = Model([a, b], layers.Concatenate()([shared(a), shared(b)]))
    assert len(model.weights) == 1 and len(model.layers) == 4
    x, z = data(5, 3), data(5, 3, seed=1)
    with nnfast.GradientTape() as tape:
        y = model([x, z])
        loss = ops.sum(y * np.arange(4, dtype="float32"))
    (g,) = tape.gradient(loss, model.trainable_variables)
    ends = np.tile(np.arange(4, dtype="float32"), (5, 1))
    assert_close(g.numpy(), x.T @ ends[:, :2] + z.T @ ends[:, 2:], scale=10)
    same(again(model).predict([x, z], verbose=0), model.predict([x, z], verbose=0))


def test_models_are_layers_of_models(device):
    i = Input((3,))
    inner = Model(i, layers.Dense(3, activation="tanh")(i), name="inner")
    tail = nnfast.Sequential([Input((3,)), layers.Dense(2, name="last")], name="tail")
    x = Input((3,))
    model = Model(x, tail(inner(inner(x))))
    assert model.count_params() == 12 + 8 and [m.name for m in model.layers[1:]] == ["inner", "tail"]
    a = data(4, 3)
    np.testing.assert_array_equal(model.predict(a, verbose=0), tail(inner(inner(a))).numpy())
    for copy in (again(model), models.clone_model(model)):
        copy.set_weights(model.get_weights())
        same(copy.predict(a, verbose=0), model.predict(a, verbose=0))
    inner.trainable = False
    assert len(model.trainable_weights) == 2
    texts = []
    model.summary(print_fn=texts.append, expand_nested=True, show_trainable=True)
    assert "└ last" in texts[0] and "Trainable" in texts[0] and "inner[0][0]" in texts[0]


def test_cutting_a_model_in_two(device):
    """From the input to a layer, from there to the end, and both together."""
    x = Input((4,), name="x")
    middle = layers.Dense(3, "relu", name="middle")(x)
    model = Model(x, layers.Dense(2, name="end")(middle))
    head, tail = Model(model.inputs, model.get_layer("middle").output), Model(middle, model.output)
    a = data(6, 4)
    np.testing.assert_array_equal(tail.predict(head.predict(a, verbose=0), verbose=0), model.predict(a, verbose=0))
    assert head.layers[1] is model.layers[1] and tail.input_shape == (None, 3)
    both = Model(model.input, [layer.output for layer in model.layers[1:]])
    assert [t.shape for t in both(a)] == [(6, 3), (6, 2)]


def test_a_sequential_grows_and_shrinks_with_its_graph():
    model = nnfast.Sequential([Input((4,)), layers.Dense(3), layers.Dense(2)])
    removed = model.pop()
    assert model.output is model.layers[-1].output and model.output.shape == (None, 3)
    with pytest.raises(AttributeError, match="never called on an Input"):
        _ = removed.output
    with pytest.raises(AttributeError, match="Input"):
        _ = nnfast.Sequential([layers.Dense(3)]).output


def test_clone_model():
    x = Input((4,))
    model = Model(x, layers.Dense(2, "relu", name="d")(x))
    fresh = models.clone_model(model)
    assert fresh.get_layer("d") is not model.get_layer("d") and fresh.count_params() == 10
    assert not np.array_equal(fresh.get_weights()[0], model.get_weights()[0])
    wider = models.clone_model(model, clone_function=lambda layer: layers.Dense(5, name=layer.name))
    assert wider.output_shape == (None, 5)
    named = Input((4,), name="named")
    assert models.clone_model(model, input_tensors=named).input is named
    calls = []
    models.clone_model(model, call_function=lambda layer, *a, **k: calls.append(layer.name) or layer(*a, **k))
    assert calls == ["d"]


# ---- masks ----


class Counts(layers.Layer):
    """Remembers the mask that it got."""

    def call(self, x, mask=None):
        self.seen = mask
        return x * 1.0


def test_masks_travel(device):
    x = np.array([[1, 2, 0], [3, 0, 0]])
    i = Input((3,), dtype="int32")
    counts = Counts()
    y = layers.Embedding(5, 2, mask_zero=True)(i)
    y = layers.Dropout(0.5)(layers.Dense(2)(y))
    model = Model(i, layers.LSTM(2)(y))
    eager = layers.Embedding(5, 2, mask_zero=True)(x)
    np.testing.assert_array_equal(np.asarray(eager._keras_mask), x != 0)
    with pytest.warns(UserWarning, match="does not support masks"):
        assert not hasattr(counts(eager), "_keras_mask")
    np.testing.assert_array_equal(np.asarray(counts.seen), x != 0)
    # what stands behind the padding has no effect
    shorter = Model(model.layers[1].output, model.output)
    embedded = model.layers[1](x)
    changed = nnfast.tensor(np.where((x != 0)[..., None], embedded.numpy(), 7.0).astype("float32"))
    changed._keras_mask = embedded._keras_mask
    assert_close(shorter(changed).numpy(), model(x).numpy())


def test_masks_of_merged_inputs(device):
    a, b = (nnfast.tensor(data(1, 3, 2, seed=s)) for s in (0, 1))
    a._keras_mask = nnfast.tensor(np.array([[True, True, False]]))
    for layer in (layers.Add(), layers.Maximum(), layers.Multiply()):
        assert not hasattr(layer([a, b]), "_keras_mask")
    b._keras_mask = nnfast.tensor(np.array([[True, False, False]]))
    for layer in (layers.Add(), layers.Average(), layers.Multiply(), layers.Concatenate()):
        y = layer([a, b])
        np.testing.assert_array_equal(np.asarray(y._keras_mask), [[True, True, False]])
    y = layers.Multiply()([a, b]).numpy()
    np.testing.assert_array_equal(y[0, 1], a.numpy()[0, 1])
    np.testing.assert_array_equal(y[0, 2], 0)
    joined = layers.Concatenate(axis=1)([a, b])
    np.testing.assert_array_equal(np.asarray(joined._keras_mask), [[True, True, False, True, False, False]])


def test_masked_steps_leave_the_loss(device):
    i = Input((3, 1))
    model = Model(i, layers.Dense(1, kernel_initializer="ones")(layers.Masking(0.0)(i)))
    model.compile("sgd", "mse")
    x = np.array([[[1.0], [2.0], [0.0]]], "float32")
    y = np.array([[[0.0], [0.0], [9.0]]], "float32")
    assert model.evaluate(x, y, verbose=0) == pytest.approx((1 + 4) / 2)


# ---- training ----


def two_outputs():
    x = Input((2,), name="x")
    return Model(x, [layers.Dense(1, use_bias=False, name="p")(x), layers.Dense(1, use_bias=False, name="q")(x)])


def test_two_outputs_by_hand(device):
    """One SGD step of mse + 0.5 mae with sample weights, against the formulas."""
    model = two_outputs()
    k, m = data(2, 1), data(2, 1, seed=1)
    model.set_weights([k, m])
    x, p, q = data(8, 2, seed=2), data(8, 1, seed=3), data(8, 1, seed=4)
    w = np.linspace(0.5, 2, 8).astype("float32")
    model.compile(
        nnfast.optimizers.SGD(0.1),
        loss={"p": "mse", "q": "mae"},
        loss_weights={"p": 1.0, "q": 0.5},
        weighted_metrics={"q": ["mse"]},
        metrics={"p": ["mae"]},
    )
    logs = model.train_on_batch(x, {"p": p, "q": q}, sample_weight={"q": w}, return_dict=True)
    ep, eq = x @ k - p, x @ m - q
    losses = {"p_loss": np.mean(ep**2), "q_loss": np.mean(w * np.abs(eq)[:, 0])}
    losses["loss"] = losses["p_loss"] + 0.5 * losses["q_loss"]
    wanted = {**losses, "p_mae": np.mean(np.abs(ep)), "q_mse": np.sum(w * eq[:, 0] ** 2) / np.sum(w)}
    assert set(logs) == set(wanted)
    for key, value in wanted.items():
        assert logs[key] == pytest.approx(value, rel=1e-5), key
    assert_close(model.get_weights()[0], k - 0.1 * 2 * x.T @ ep / 8, scale=10)
    assert_close(model.get_weights()[1], m - 0.1 * 0.5 * x.T @ (w[:, None] * np.sign(eq)) / 8, scale=10)


@pytest.mark.filterwarnings("ignore:.*no gradient:UserWarning")  # the output without a loss learns nothing
@pytest.mark.parametrize(
    "loss, keys",
    [
        ("mse", {"loss", "p_loss", "q_loss"}),
        (["mse", "mae"], {"loss", "p_loss", "q_loss"}),
        ({"p": "mse"}, {"loss"}),
        ([None, "mae"], {"loss"}),
    ],
)
def test_ways_to_say_the_losses(loss, keys):
    model = two_outputs()
    model.compile("sgd", loss)
    x, p, q = data(8, 2), data(8, 1), data(8, 1, seed=1)
    assert set(model.fit(x, [p, q], verbose=0).history) == keys
    assert set(model.fit(x, {"p": p, "q": q}, verbose=0).history) == keys


def test_metrics_of_several_outputs():
    model = two_outputs()
    x, y = data(8, 2), [data(8, 1), data(8, 1, seed=1)]
    for metrics, keys in (
        ([["mae", "mse"], None], {"p_mae", "p_mse"}),
        (["mae", "mse"], {"p_mae", "q_mse"}),
        ({"q": "mae"}, {"q_mae"}),
    ):
        model.compile("sgd", "mse", metrics=metrics)
        assert set(model.fit(x, y, verbose=0).history) == {"loss", "p_loss", "q_loss", *keys}


def test_generators_give_structures():
    model = two_outputs()
    model.compile("sgd", "mse")

    def batches():
        while True:
            yield {"x": data(4, 2)}, {"p": data(4, 1), "q": data(4, 1)}

    history = model.fit(batches(), steps_per_epoch=3, epochs=2, verbose=0).history
    assert len(history["q_loss"]) == 2


def test_integer_inputs_keep_their_dtype(device):
    words, numbers = Input((3,), dtype="int32", name="words"), Input((2,), name="numbers")
    pooled = layers.GlobalAveragePooling1D()(layers.Embedding(10, 4)(words))
    model = Model([words, numbers], layers.Dense(1)(layers.concatenate([pooled, numbers])))
    model.compile("sgd", "mse")
    x = {"words": np.arange(30).reshape(10, 3) % 10, "numbers": data(10, 2).astype("float64")}
    model.fit(x, data(10), verbose=0)
    np.testing.assert_allclose(model.predict(x, batch_size=3, verbose=0), model.predict(x, verbose=0), rtol=1e-6)


class Trained(Model):
    """A step of one's own, on a functional model and on a subclass."""

    def train_step(self, data):
        x, y = data
        with nnfast.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        self.mine.update_state(loss)
        return {"loss": loss, "mine": self.mine.result()}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.mine = nnfast.metrics.Mean(name="mine")


def test_train_step_of_ones_own():
    x = Input((3,))
    model = Trained(inputs=x, outputs=layers.Dense(1)(x))
    assert type(model) is Trained and model.count_params() == 4
    model.compile(nnfast.optimizers.SGD(0.1), "mse")
    a, b = data(32, 3), data(32, 1)
    history = model.fit(a, b, epochs=3, verbose=0).history
    assert history["mine"] == pytest.approx(history["loss"]) and history["loss"][2] < history["loss"][0]
    assert "mine" in model.metrics_names
    assert type(again(model)) is Trained


def test_compute_loss_of_ones_own():
    class Cubed(Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.abs(y - y_pred) ** 3.0)

    x = Input((3,))
    model = Cubed(x, layers.Dense(1)(x))
    model.compile("sgd")
    a, b = data(8, 3), data(8, 1)
    assert model.evaluate(a, b, verbose=0) == pytest.approx(np.mean(np.abs(model.predict(a, verbose=0) - b) ** 3), 1e-5)


def test_subclasses_with_several_outputs():
    class Two(Model):
        def __init__(self):
            super().__init__()
            self.p, self.q = layers.Dense(1), layers.Dense(2)

        def call(self, x):
            return {"p": self.p(x), "q": self.q(x)}

    model = Two()
    model.build((None, 3))
    assert model.count_params() == 4 + 8
    model.compile("sgd", {"p": "mse", "q": "mae"}, metrics={"q": ["mse"]})
    y = {"p": data(8, 1), "q": data(8, 2)}
    assert set(model.fit(data(8, 3), y, verbose=0).history) == {"loss", "p_loss", "q_loss", "q_mse"}
    assert set(model.predict(data(8, 3), verbose=0)) == {"p", "q"}
    x = Input((3,))
    assert Model(x, model(x)).output_shape == [(None, 1), (None, 2)]


def test_regularization_of_layers_counts_once():
    x = Input((3,))
    shared = layers.Dense(3, kernel_regularizer=nnfast.regularizers.L2(0.1))
    model = Model(x, shared(shared(x)))
    model.compile("sgd", "mse")
    a, b = data(8, 3), data(8, 3)
    mse = np.mean((model.predict(a, verbose=0) - b) ** 2)
    penalty = 0.1 * np.sum(shared.kernel.numpy() ** 2)
    assert model.evaluate(a, b, verbose=0) == pytest.approx(mse + penalty, rel=1e-5)


# ---- configs and files ----


def everything():
    a, b = Input((6,), dtype="int32", name="a"), Input((4,), name="b")
    x = layers.LSTM(3, name="l")(layers.Embedding(9, 3, mask_zero=True, name="e")(a))
    d = layers.Dense(3, "relu", name="d")
    y = layers.Multiply(name="m")([d(b), x])
    return Model([a, b], {"y": y[:, 1:], "z": d(b * 2.0) + x}, name="everything")


def test_config_comes_back(device):
    model = everything()
    x = [np.arange(30).reshape(5, 6) % 9, data(5, 4)]
    copy = again(model)
    same(copy.predict(x, verbose=0), model.predict(x, verbose=0))
    assert copy.name == "everything"
    assert json.dumps(copy.get_config()) == json.dumps(model.get_config())


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_files(tmp_path, suffix):
    model = everything()
    model.compile("adam", {"y": "mse", "z": "mae"}, loss_weights={"y": 0.5, "z": 1.0}, metrics={"y": ["mae"]})
    x, y = [np.arange(30).reshape(5, 6) % 9, data(5, 4)], {"y": data(5, 2), "z": data(5, 3)}
    model.fit(x, y, verbose=0)
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    loaded = models.load_model(path)
    same(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    model.fit(x, y, verbose=0, shuffle=False), loaded.fit(x, y, verbose=0, shuffle=False)
    same(loaded.get_weights(), model.get_weights())


# ---- mistakes ----


def mistakes():
    x, z = Input((3,), name="x"), Input((3,), name="z")
    d = layers.Dense(2, name="d")
    model = Model([x, z], layers.Add(name="sum")([d(x), d(z)]))
    a = data(4, 3)
    two = two_outputs()
    two.compile("sgd", "mse")
    return {
        "an Input that is not given": (lambda: Model(x, d(z)), ["'z'", "not among the inputs"]),
        "a layer instead of a tensor": (lambda: Model(x, d), ["symbolic tensors", "d.output"]),
        "data instead of a tensor": (lambda: Model(a, a), ["symbolic tensors", "Input(shape="]),
        "a list of layers": (lambda: Model([d]), ["Sequential"]),
        "inputs alone": (lambda: Model(inputs=x), ["belong together"]),
        "the same input twice": (lambda: Model([x, x], d(x)), ["once"]),
        "one name twice": (lambda: Model(x, layers.Dense(2, name="d")(d(x))), ["unique", "'d'"]),
        "a missing key": (lambda: model.predict({"x": a}, verbose=0), ["'z'", "missing", "'x'"]),
        "too few arrays": (lambda: model.predict([a], verbose=0), ["2 inputs", "1 array"]),
        "too many arrays": (lambda: model.predict([a, a, a], verbose=0), ["2 inputs", "3 arrays"]),
        "a wrong shape": (lambda: model.predict([a, a[:, :2]], verbose=0), ["'z'", "(None, 3)", "(4, 2)"]),
        "rows that differ": (lambda: model.predict([a, a[:2]], verbose=0), ["one row per sample", "(2, 3)"]),
        "y for an unknown output": (lambda: two.fit(a[:, :2], {"r": a}, verbose=0), ["'r'", "'p', 'q'"]),
        "too few targets": (lambda: two.fit(a[:, :2], a[:, :1], verbose=0), ["2 outputs", "1 array"]),
        "a loss for an unknown output": (lambda: two.compile("sgd", {"r": "mse"}), ["'r'", "'p', 'q'"]),
        "too many losses": (lambda: two.compile("sgd", ["mse"] * 3), ["2 outputs", "3 entries"]),
        "one list of metrics": (lambda: two.compile("sgd", "mse", metrics=["mae"]), ["metrics", "2 outputs"]),
        "class weights": (
            lambda: two.fit(a[:, :2], [a[:, :1]] * 2, class_weight={0: 1.0}, verbose=0),
            ["class_weight", "one output"],
        ),
        "a merge of one tensor": (lambda: layers.Add()(x), ["list of inputs", "Add()([a, b])"]),
        "shapes that do not merge": (lambda: layers.Add()([x, Input((4,))]), ["one shape", "(None, 4)"]),
        "a result in a Sequential": (lambda: nnfast.Sequential([d(x)]), ["Model(inputs, outputs)"]),
    }


@pytest.mark.parametrize("mistake", mistakes())
def test_mistakes(mistake):
    """Each message says what came and what to do."""
    call, words = mistakes()[mistake]
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    for word in words:
        assert word in str(caught.value), str(caught.value)


# ---- beside Keras ----


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_beside_keras(monkeypatch):
    """A model that Keras reads, that Keras wrote, and a training of two outputs by both."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("COLUMNS", "130")
    keras = pytest.importorskip("keras")
    model = everything()
    theirs = keras.Model.from_config(json.loads(json.dumps(model.get_config())))
    theirs.set_weights(model.get_weights())
    x = [np.arange(30).reshape(5, 6) % 9, data(5, 4)]
    for key, value in theirs.predict(x, verbose=0).items():
        np.testing.assert_allclose(model.predict(x, verbose=0)[key], value, rtol=1e-5, atol=1e-6)
    mine = Model.from_config(json.loads(json.dumps(theirs.get_config())))
    assert [m.name for m in mine.layers] == [m.name for m in theirs.layers]
    assert [w.shape for w in mine.weights] == [tuple(w.shape) for w in theirs.weights]
    texts = []
    theirs.summary(print_fn=texts.append), mine.summary(print_fn=texts.append)
    assert texts[0] == texts[1]
    y, w = {"y": data(5, 2), "z": data(5, 3)}, np.linspace(0.5, 2, 5).astype("float32")
    for one in (mine, theirs):
        one.set_weights(model.get_weights())
        one.compile(
            "sgd",
            {"y": "mse", "z": "mae"},
            loss_weights={"y": 0.5, "z": 2.0},
            metrics={"y": ["mae"], "z": ["mse"]},
            weighted_metrics={"z": ["mae"]},
        )
    options = {"epochs": 3, "batch_size": 5, "shuffle": False, "verbose": 0, "sample_weight": w}
    got, wanted = mine.fit(x, y, **options).history, theirs.fit(x, y, **options).history
    assert set(got) == set(wanted)
    for key, values in wanted.items():
        np.testing.assert_allclose(got[key], values, rtol=1e-4, err_msg=key)
    np.testing.assert_allclose(mine.evaluate(x, y, verbose=0), theirs.evaluate(x, y, verbose=0), rtol=1e-4)


# ---- functions of ops as nodes ----

X = np.random.default_rng(3).uniform(-1.5, 2.0, (5, 4, 3)).astype("float32")
ONE = """
    abs absolute negative sign square exp expm1 erf relu selu sigmoid tanh softplus silu swish softsign
    hard_sigmoid isnan isinf isfinite logical_not zeros_like ones_like stop_gradient neg leaky_relu elu gelu
    softmax log_softmax flip argmax argmin convert_to_tensor
"""
TWO = """
    add subtract multiply divide true_divide maximum minimum equal not_equal less less_equal greater
    greater_equal logical_and logical_or logical_xor mul sub div
"""
REDUCED = ["sum", "mean", "max", "min", "prod", "var", "std", "argmax", "argmin", "logsumexp", "any", "all"]
CALLS = {
    **{name: lambda x, y, f=name: getattr(ops, f)(x) for name in ONE.split()},
    **{name: lambda x, y, f=name: getattr(ops, f)(ops.square(x) + 0.1) for name in ("sqrt", "rsqrt", "log", "log1p")},
    **{f"{name} of two": lambda x, y, f=name: getattr(ops, f)(x, y) for name in TWO.split()},
    **{f"{name} along": lambda x, y, f=name: getattr(ops, f)(x, axis=1, keepdims=True) for name in REDUCED},
    "number first": lambda x, y: ops.subtract(1.0, x),
    "an array": lambda x, y: ops.multiply(x, np.arange(3, dtype="float32")),
    "pow": lambda x, y: ops.pow(x, 2) + ops.power(y, 2),
    "reciprocal": lambda x, y: ops.reciprocal(ops.square(x) + 1),
    "where": lambda x, y: ops.where(x > 0, x, ops.expm1(y)),
    "clip": lambda x, y: ops.clip(x, -0.5, x_max=0.5),
    "matmul": lambda x, y: ops.matmul(x, ops.transpose(y, (0, 2, 1))),
    "dot": lambda x, y: ops.dot(x, np.ones((3, 2), "float32")),
    "concat": lambda x, y: ops.concat([x, y], axis=1),
    "concatenate": lambda x, y: ops.concatenate([x, y, x], axis=-1),
    "stack": lambda x, y: ops.stack([x, y], axis=2),
    "split": lambda x, y: ops.split(x, [1, 3], axis=1)[1],
    "reshape": lambda x, y: ops.reshape(x, (-1, 12)),
    "swapaxes": lambda x, y: ops.swapaxes(ops.moveaxis(x, 1, 2), 1, 2),
    "expand_dims": lambda x, y: ops.squeeze(ops.expand_dims(x, 1), axis=1),
    "cast": lambda x, y: ops.cast(x, "float64"),
    "convert": lambda x, y: ops.convert_to_tensor(x, dtype="float64"),
    "one_hot": lambda x, y: ops.one_hot(ops.argmax(x, axis=1), 4),
    "pad": lambda x, y: ops.pad(x, ((0, 0), (1, 2), (0, 1))),
    "take": lambda x, y: ops.take(x, [2, 0, 2], axis=2),
    "repeat": lambda x, y: ops.repeat(x, 2, axis=1),
    "tile": lambda x, y: ops.tile(x, (1, 2, 1)),
    "broadcast_to": lambda x, y: ops.mean(ops.broadcast_to(ops.ravel(ops.sum(x)), (7, 1))),
    "activations": lambda x, y: nnfast.activations.relu(x, 0.1, 1.0, 0.2) + nnfast.activations.mish(y),
}


@pytest.mark.parametrize("name", CALLS)
def test_functions_of_ops_on_inputs(name):
    """A model of them gives what they give for data, and so does the model from its file."""
    f = CALLS[name]
    a, b = Input((4, 3)), Input((4, 3))
    model = Model([a, b], f(a, b))
    expected = f(nnfast.tensor(X), nnfast.tensor(X[::-1])).numpy()
    for m in (model, again(model)):
        got = m([X, X[::-1]]).numpy()
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    if expected.shape[:1] == (5,):
        assert model.output_shape == (None, *expected.shape[1:])


def test_every_function_that_gives_way_is_recorded():
    tested = "\n".join(inspect.getsource(sys.modules[__name__]).split("CALLS = {")[1:]) + ONE + TWO + " ".join(REDUCED)
    missing = [n for n in ops._GIVE_WAY.split() if n != "mul" and not re.search(rf"\b{n}\b", tested)]
    assert not missing
    public = [getattr(ops, n) for n in ops._GIVE_WAY.split() if n != "convert_to_tensor"]
    assert all(f.__wrapped__ in nnfast.layers.symbolic._OF_FUNCTION for f in public)


def test_functions_of_ops_train(rng):
    """Among layers, with gradients; several outputs of one call; the layers' names in the summary."""
    x = Input((6,))
    first, second = ops.split(layers.Dense(8)(x), 2, axis=-1)
    y = layers.Dense(1)(ops.relu(first) * ops.sigmoid(second) - ops.mean(first, axis=-1, keepdims=True))
    model = Model(x, y)
    assert [type(o).__name__ for o in model._graph.operations[2:4]] == ["Split", "Relu"]
    model.compile(nnfast.optimizers.Adam(0.03), "mse")
    a = rng.standard_normal((64, 6)).astype("float32")
    loss = model.fit(a, a[:, 0] * a[:, 1], epochs=30, verbose=0).history["loss"]
    assert loss[-1] < 0.5 * loss[0]


def test_functions_of_ops_say_what_is_wrong_with_inputs():
    x = Input((4, 3))
    with pytest.raises(ValueError, match=r"\[matmul\] the inner sizes differ"):
        ops.matmul(x, x)
    with pytest.raises(TypeError, match=r"\[cast\].*scale must be left out.*Received: scale=2.0.*Lambda"):
        ops.cast(x, "float64", 2.0)
    with pytest.raises(TypeError, match=r"\[mean\].*unexpected keyword argument 'axes'"):
        ops.mean(x, axes=1)
    with pytest.raises(TypeError, match=r"\[clip\] in a functional model x_min must be.* known"):
        ops.clip(x, x, 1.0)
    with pytest.raises(TypeError, match=r"is a placeholder.*layers.Lambda"):
        nnfast.tensor(x)
