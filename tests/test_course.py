"""The course's numbers through nnfast's own ops. Test names hold the rows of the inventory: seed 004, row 1 is 004_1.

float64 throughout, on each device. Where a printed number is wrong, the right one stands here, and why.
"""

import numpy as np
import pytest
from compare import gradcheck

import nnfast
from nnfast import datasets, layers, losses, ops, optimizers
from nnfast.models import Sequential

# ---- seed 000 and 003: products ----


def test_000_15_dot_examples(device):
    a = nnfast.tensor(np.array([2.0, 3.0]))
    assert (a @ np.array([2.0, 4.0])).item() == 16
    assert ops.matmul(np.array([1.0, 3, 2]), np.array([[1.0, 0], [2, 4], [5, 1]])).tolist() == [17, 14]
    left, right = np.array([[2.0, 5, 1], [4, 3, 1]]), np.array([[1.0, 0, 0], [0, 2, 0], [2, 3, 1]])
    assert ops.matmul(left, right).tolist() == [[4, 13, 1], [6, 9, 1]]


def test_003_3_matrices(device):
    t = lambda rows: nnfast.tensor(rows, "float64")  # noqa: E731
    assert (t([[4, 8], [7, 6]]) + t([[3, -7], [-5, -4]])).tolist() == [[7, 1], [2, 2]]
    assert (t([[4, 8], [7, 6]]) - t([[-3, 7], [5, 4]])).tolist() == [[7, 1], [2, 2]]
    assert (4 * t([[8, 7], [6, 3]])).tolist() == [[32, 28], [24, 12]]
    assert (t([[1, 2], [3, 4]]) @ t([[5, 6], [7, 8]])).tolist() == [[19, 22], [43, 50]]
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(3, 2\)"):
        t([[1, 2], [3, 4]]) @ t([[1, 2], [3, 4], [5, 6]])


def test_003_7_loss_example(device):
    """The target is class 4; the text's copy shows class 1, which would give 2.94."""
    y = nnfast.tensor(np.array([0, 0.1, 0.4, 0.8, 0.5, 0.4, 0.3, 0.1, 0.1, 0.9]))
    for target, loss in ((4, 2.14), (1, 2.94)):
        assert ops.sum(ops.square(y - np.eye(10)[target])).item() == pytest.approx(loss, abs=1e-14)
        assert losses.mean_squared_error(np.eye(10)[target], y).item() == pytest.approx(loss / 10, abs=1e-15)


# ---- seed 002: backpropagation by hand ----


def test_002_36_backpropagation_by_hand(device):
    """The slide gives 0.01 for each of the first layer's changes; the chain rule gives the numbers below."""
    x, target = np.array([[0.5, 0.3]]), np.array([[0.23, -0.07]])
    first = nnfast.Variable(np.array([[0.2, -0.4], [0.5, 0.6]]))  # w1 w2 / w3 w4
    second = nnfast.Variable(np.array([[0.1, -0.5], [-0.3, 0.8]]))  # w5 w6 / w7 w8
    with nnfast.GradientTape() as tape:
        hidden = ops.sigmoid(ops.matmul(x, first))
        out = ops.sigmoid(ops.matmul(hidden, second))
        loss = 0.5 * ops.sum(ops.square(out - target))
    dfirst, dsecond = tape.gradient(loss, [first, second])
    np.testing.assert_allclose(hidden, [[0.562, 0.495]], atol=5e-4)
    np.testing.assert_allclose(out, [[0.477, 0.529]], atol=5e-4)
    np.testing.assert_allclose(out.numpy() - target, [[0.247, 0.599]], atol=5e-4)
    assert loss.item() == pytest.approx(0.2097, abs=5e-5)
    np.testing.assert_allclose(dsecond, [[0.0346, 0.0839], [0.0305, 0.0738]], atol=5e-5)
    np.testing.assert_allclose(dfirst, [[-0.00842, 0.01261], [-0.00505, 0.00756]], atol=5e-6)


# ---- seed 004: softmax regression ----

F = np.array([[0.2, 0.5, 0.3], [0.2, 0.6, 0.2]])
Z = np.array([[2.0, 25, 13], [54, 3, 11]])
Y = np.array([2, 1])
ONE_HOT = np.array([[0.0, 0, 1], [0, 1, 0]])


def test_004_1_cross_entropy(device):
    assert losses.sparse_categorical_crossentropy(Y, F).numpy().mean() == pytest.approx(0.8573992140459634, rel=1e-15)
    assert losses.SparseCategoricalCrossentropy()(Y, F).item() == pytest.approx(0.8573992140459634, rel=1e-15)


def test_004_2_cross_entropy_of_one_hot_rows(device):
    """The printed function sums; the mean is the loss."""
    assert losses.CategoricalCrossentropy()(ONE_HOT, F).item() == pytest.approx(0.8573992140459634, rel=1e-15)
    summed = losses.CategoricalCrossentropy(reduction="sum")(ONE_HOT, F).item()
    assert summed == pytest.approx(1.7147984280919268, rel=1e-15)


def test_004_3_one_hot_table(device):
    words = ["queen", "king", "man", "woman", "boy", "girl"]
    table = ops.one_hot([words.index(w) for w in ("queen", "king", "man", "woman")], 6).numpy()
    assert table.shape == (4, 6) and (table.sum(1) == 1).all() and (table.argmax(1) == [0, 1, 2, 3]).all()


def test_004_4_softmax_cross_entropy(device):
    """Without clipping: probabilities cut at 1e-7 would give 14.06."""
    assert ops.softmax_xent(Z, Y).item() == pytest.approx(31.500003072148047, rel=1e-15)
    assert ops.softmax_xent(Z, ONE_HOT).item() == pytest.approx(31.500003072148047, rel=1e-15)
    by_layer = layers.Activation("softmax", dtype="float64")(Z)
    assert losses.SparseCategoricalCrossentropy()(Y, by_layer).item() == pytest.approx(31.500003072148047, rel=1e-15)


def xent_gradient(z, y):
    v = nnfast.Variable(z)
    with nnfast.GradientTape() as tape:
        loss = ops.softmax_xent(v, y)
    return tape.gradient(loss, v).numpy()


def test_004_5_gradient_of_softmax_cross_entropy(device):
    expected = [[5.13e-11, 0.49999693, -0.49999693], [0.5, -0.5, 1.06e-19]]
    for y in (Y, ONE_HOT):
        np.testing.assert_allclose(xent_gradient(Z, y), expected, rtol=5e-3)  # three printed digits


def test_004_6_numerical_check(device):
    gradcheck(lambda z: ops.softmax_xent(z, Y), Z)
    gradcheck(lambda z: ops.softmax_xent(z, ONE_HOT), Z)


def regression(x, w, y, reg):
    """Loss of a softmax regression with an L2 term, and its gradient by w."""
    w = nnfast.Variable(w)
    with nnfast.GradientTape() as tape:
        loss = ops.softmax_xent(ops.matmul(x, w), y) + reg * ops.sum(ops.square(w))
    return loss.item(), tape.gradient(loss, w).numpy()


def test_004_7_regularised_loss(device):
    x, w = np.array([[2.0, 3], [4, 5]]), np.array([[0.1, 0.2, 0.3], [0.4, 0.2, 0.8]])
    loss, gradient = regression(x, w, Y, 0.2)
    assert loss == pytest.approx(2.0863049636282662, rel=1e-15)
    np.testing.assert_allclose(gradient, [[0.3021, -1.7578, 1.6957], [0.5254, -2.1919, 2.2265]], atol=5e-5)


def test_004_8_gradient_descent(device):
    """A column of ones is the bias; the loop stops when the gradient is small enough."""
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 3], [3, 0], [-3, -3]])
    y = np.arange(60) % 3
    x = np.hstack([np.ones((60, 1)), centres[y] + 0.5 * rng.standard_normal((60, 2))])
    w, history = np.zeros((3, 3)), []
    while len(history) < 2000:
        loss, gradient = regression(x, w, y, 1e-2)
        history.append(loss)
        if np.abs(gradient).max() < 1e-5:
            break
        w = w - 0.3 * gradient
    assert 10 < len(history) < 2000, "the gradient never became small enough"
    assert history[0] == pytest.approx(np.log(3), rel=1e-12) and (np.diff(history) < 1e-12).all()
    assert (ops.argmax(ops.matmul(x, w), axis=1).numpy() == y).mean() > 0.95


# ---- seed 004: a network of two layers ----


def parameters():
    np.random.seed(2)
    w1 = np.random.randn(2, 4) * 0.01
    return [w1, np.zeros((1, 4)), np.random.randn(4, 3) * 0.01, np.zeros((1, 3))]


X3, Y3, REG = np.array([[1.0, 2], [3, 4], [5, 6]]), np.array([2, 0, 1]), 1e-3


def forward(w1, b1, w2, b2):
    return ops.matmul(ops.tanh(ops.matmul(X3, w1) + b1), w2) + b2


def network_loss(w1, b1, w2, b2):
    penalty = ops.sum(ops.square(w1)) + ops.sum(ops.square(w2))
    return ops.softmax_xent(forward(w1, b1, w2, b2), Y3) + REG * penalty


def test_004_19_initial_parameters():
    """NumPy's legacy generator, through Variables, prints the text's digits."""
    w1, b1, w2, b2 = (nnfast.Variable(p).numpy() for p in parameters())
    printed = [[-0.00416758, -0.00056267, -0.02136196, 0.01640271], [-0.01793436, -0.00841747, 0.00502881, -0.01245288]]
    np.testing.assert_array_equal(w1.round(8), printed)
    assert [f"{v:.8e}" for v in w2[0]] == ["-1.05795222e-02", "-9.09007615e-03", "5.51454045e-03"]
    assert f"{w2[3, 2]:.8e}" == "9.02525097e-05"
    assert not b1.any() and not b2.any()


def test_004_20_forward_propagation(device):
    printed = [
        ["-1.36253581e-04", "4.87491807e-04", "-2.47960226e-05"],
        ["-1.64985210e-04", "1.01574088e-03", "-5.99877659e-05"],
        ["-1.96135525e-04", "1.54048069e-03", "-9.36558871e-05"],
    ]
    assert [[f"{v:.8e}" for v in row] for row in forward(*parameters()).tolist()] == printed


def test_004_21_loss_with_regularisation(device):
    assert network_loss(*parameters()).item() == pytest.approx(1.098427770814438, rel=1e-15)
    assert ops.softmax_xent(forward(*parameters()), Y3).item() == pytest.approx(1.0984253207, abs=5e-11)


def test_004_22_numerical_gradient(device):
    variables = [nnfast.Variable(p) for p in parameters()]
    with nnfast.GradientTape() as tape:
        loss = network_loss(*variables)
    analytic = [g.numpy() for g in tape.gradient(loss, variables)]
    values = parameters()
    for number, p in enumerate(values):
        places = np.nditer(p, flags=["multi_index"], op_flags=["readwrite"])
        for _ in places:
            at, kept = places.multi_index, p[places.multi_index]
            ends = []
            for eps in (1e-6, -1e-6):
                p[at] = kept + eps
                ends.append(network_loss(*values).item())
            p[at] = kept
            assert abs((ends[0] - ends[1]) / 2e-6 - analytic[number][at]) < 2e-10
    np.testing.assert_allclose(analytic[0][0], [0.0095681, -0.0077328, 0.0037513, 0.0050651], atol=5e-8)
    np.testing.assert_allclose(analytic[3][0], [-0.00014298, 0.00025054, -0.00010756], atol=5e-9)


# ---- models: the numbers of parameters ----


def course_models():
    return {
        "002_4": Sequential([layers.Flatten(input_shape=(28, 28)), layers.Dense(units=10, activation="softmax")]),
        "002_6": Sequential(
            [
                layers.Flatten(input_shape=(28, 28)),
                *(layers.Dense(units=n, activation="relu") for n in (300, 200, 100)),
                layers.Dense(units=10, activation="softmax"),
            ]
        ),
        "000_2": Sequential(
            [layers.Dense(512, activation="relu", input_shape=(28 * 28,)), layers.Dense(10, activation="softmax")]
        ),
        "003_12": sigmoid_network(),
        "003_18": convolutional_network(),
    }


def sigmoid_network(units=800):
    model = Sequential()
    for inputs in (784, units):
        model.add(layers.Dense(units, input_dim=inputs))
        model.add(layers.Activation("sigmoid"))
        model.add(layers.Dropout(0.4))
    model.add(layers.Dense(10, input_dim=units))
    model.add(layers.Activation("softmax"))
    return model


def convolutional_network():
    """Its Dense(200, input_dim=784) is wrong on purpose or by accident: 1152 numbers come in, and that counts."""
    model = Sequential()
    for filters in (32, 64, 128):
        model.add(layers.Conv2D(filters, (3, 3), padding="same", input_shape=(28, 28, 1)))
        model.add(layers.Activation("relu"))
        model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Flatten())
    model.add(layers.Dense(200, input_dim=28 * 28))
    model.add(layers.Activation("relu"))
    model.add(layers.Dense(10, input_dim=200))
    model.add(layers.Activation("softmax"))
    return model


COUNTS = {
    "002_4": [0, 7_850],
    "002_6": [0, 235_500, 60_200, 20_100, 1_010],
    "000_2": [401_920, 5_130],
    "003_12": [628_000, 0, 0, 640_800, 0, 0, 8_010, 0],
    "003_18": [320, 0, 0, 18_496, 0, 0, 73_856, 0, 0, 0, 230_600, 0, 2_010, 0],
}
TOTALS = {"002_4": 7_850, "002_6": 316_810, "000_2": 407_050, "003_12": 1_276_810, "003_18": 325_282}


@pytest.mark.parametrize("row", COUNTS)
def test_parameter_counts_of_rows(row):
    model = course_models()[row]
    assert [layer.count_params() for layer in model.layers] == COUNTS[row]
    assert model.count_params() == TOTALS[row]
    lines = []
    model.summary(print_fn=lines.append)
    assert f"Total params: {TOTALS[row]:,}" in "\n".join(lines)


def test_003_18_shapes():
    model = convolutional_network()
    assert [layer.output_shape[1:3] for layer in model.layers[2:9:3]] == [(14, 14), (7, 7), (3, 3)]
    assert model.layers[9].output_shape == (None, 1152)


_COMMON = {
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "jit_compile": True,
}
OPTIMIZER_CALLS = {
    "002_21": ("SGD", {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, **_COMMON}),
    "002_22": ("Adagrad", {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-07, **_COMMON}),
    "002_23": ("Adadelta", {"learning_rate": 0.001, "rho": 0.95, "epsilon": 1e-07, **_COMMON}),
    "002_24": (
        "RMSprop",
        {
            **{"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-07, "centered": False, **_COMMON},
            "ema_overwrite_frequency": 100,
        },
    ),
    "002_25": (
        "Adam",
        {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07, "amsgrad": False, **_COMMON},
    ),
}


def small_training(optimizer, batch_size=32):
    """The losses of three epochs of a small classifier on two blobs."""
    rng = np.random.default_rng(2)
    nnfast.utils.set_random_seed(2)
    y = np.arange(96) % 2
    x = (rng.standard_normal((96, 2)) + 4 * y[:, None]).astype("float32")
    model = Sequential([layers.Dense(8, activation="relu"), layers.Dense(2, activation="softmax")])
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    losses = model.fit(x, y, batch_size=batch_size, epochs=3, verbose=0).history["loss"]
    return losses, int(model.optimizer.iterations)


@pytest.mark.parametrize("size, steps", [(96, 3), (1, 288), (32, 9)])
def test_002_20_batch_sizes(size, steps):
    """All samples, one sample, a mini-batch per step."""
    losses, done = small_training(optimizers.SGD(learning_rate=0.01), size)
    assert done == steps and losses[-1] < losses[0]


@pytest.mark.parametrize("row", OPTIMIZER_CALLS)
def test_002_21_to_25_calls_as_written(row):
    name, arguments = OPTIMIZER_CALLS[row]
    optimizer = getattr(optimizers, name)(**arguments, name=name)
    losses, _ = small_training(optimizer)
    assert optimizer.name == name and losses[-1] < losses[0]


def test_002_26_momentum_as_an_average(rng):
    """The table's m = gamma m + (1 - gamma) g; w -= lr m is Keras's momentum with lr (1 - gamma)."""
    w, m, gamma, lr = np.zeros(3), np.zeros(3), 0.9, 0.1
    v = nnfast.Variable(np.zeros(3))
    optimizer = optimizers.SGD(lr * (1 - gamma), momentum=gamma)
    for _ in range(10):
        g = rng.standard_normal(3)
        m = gamma * m + (1 - gamma) * g
        w = w - lr * m
        optimizer.apply([nnfast.tensor(g)], [v])
    np.testing.assert_allclose(v.numpy(), w, rtol=1e-10)


@pytest.mark.parametrize(
    "name", ["SGD", "RMSprop", "Adam", "AdamW", "Adadelta", "Adagrad", "Adamax", "Adafactor", "Nadam", "Ftrl"]
)
def test_002_28_all_ten_by_class_and_by_name(name):
    assert small_training(getattr(optimizers, name)()) == small_training(name.lower())


def test_002_29_three_ways_to_pass_an_optimizer():
    for optimizer in ("sgd", optimizers.Adam(learning_rate=0.01), optimizers.SGD(learning_rate=0.01)):
        losses, _ = small_training(optimizer)
        assert losses[-1] < losses[0]


def test_002_30_clipping_keeps_an_exploding_gradient_small():
    """A rate at which plain descent gives NaN trains when the norm of the gradient is bounded."""
    x = np.linspace(-1, 1, 32, dtype="float32")[:, None] * 100
    y = 3 * x

    def train(optimizer):
        model = Sequential([layers.Dense(1, kernel_initializer="zeros")])
        model.compile(optimizer, "mse")
        return model.fit(x, y, epochs=40, verbose=0, shuffle=False).history["loss"]

    with pytest.raises(ValueError, match="the loss is"):
        train(optimizers.SGD(0.1))
    assert train(optimizers.SGD(0.1, clipnorm=1.0))[-1] < 20 < train(optimizers.SGD(0.1, clipnorm=1e-3))[-1]


@pytest.mark.parametrize("form", ["build", "input"])
def test_002_33_named_model(form):
    model = nnfast.Sequential(name="my_example_model")
    if form == "input":
        model.add(nnfast.Input(shape=(3,)))
    model.add(layers.Dense(64, activation="relu", name="my_first_layer"))
    model.add(layers.Dense(10, activation="softmax", name="my_last_layer"))
    if form == "build":
        model.build((None, 3))
    assert [layer.count_params() for layer in model.layers] == [256, 650]
    lines = []
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    for word in ("my_example_model", "my_first_layer", "my_last_layer", "Total params: 906"):
        assert word in text


# ---- a few steps on real digits ----


@pytest.fixture(scope="module")
def digits():
    (x, y), (x_test, y_test) = datasets.digits.load_data()
    return (x[:2000], y[:2000]), (x_test[:500], y_test[:500])


def test_000_7_the_first_network_learns(digits):
    (x, y), (x_test, y_test) = digits
    nnfast.utils.set_random_seed(1)
    network = course_models()["000_2"]
    network.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    train = x.reshape((len(x), 28 * 28)).astype("float32") / 255
    test = x_test.reshape((len(x_test), 28 * 28)).astype("float32") / 255
    one_hot = nnfast.utils.to_categorical
    history = network.fit(train, one_hot(y), epochs=2, batch_size=128, verbose=0).history
    assert history["loss"][1] < 0.6 * history["loss"][0]
    assert int(network.optimizer.iterations) == 2 * 16
    test_loss, test_acc = network.evaluate(test, one_hot(y_test), verbose=0)
    assert test_acc > 0.75 and test_loss < 0.8


def test_003_13_pixels_that_are_not_scaled(digits):
    """0 to 255 into sigmoids, mean squared error: slow, but finite, and accuracy counts the largest output."""
    (x, y), _ = digits
    nnfast.utils.set_random_seed(1)
    model = sigmoid_network(64)
    model.compile(loss="mse", optimizer=optimizers.SGD(learning_rate=0.1), metrics=["accuracy"])
    one_hot = nnfast.utils.to_categorical(y, 10)
    data = x.reshape(len(x), 784)
    history = model.fit(data, one_hot, batch_size=50, epochs=3, verbose=0).history
    assert np.isfinite(history["loss"]).all() and history["loss"][-1] < history["loss"][0]
    score = model.evaluate(data, one_hot, verbose=0)
    predicted = np.argmax(model.predict(data, verbose=0), axis=-1)
    assert score[1] == pytest.approx((predicted == y).mean(), abs=1e-12)


def test_003_19_the_convolutional_network_learns(digits):
    (x, y), _ = digits
    nnfast.utils.set_random_seed(1)
    model = convolutional_network()
    model.compile(loss="mse", optimizer=optimizers.SGD(learning_rate=0.008), metrics=["accuracy"])
    images = (x[:600].reshape(600, 28, 28, 1) / 255).astype("float32")
    one_hot = nnfast.utils.to_categorical(y[:600], 10)
    before = model.evaluate(images, one_hot, verbose=0)
    model.fit(images, one_hot, batch_size=50, epochs=2, verbose=0)
    loss, accuracy = model.evaluate(images, one_hot, verbose=0)
    assert loss < before[0] and np.isfinite(accuracy)
    assert model.predict(images[:3], verbose=0).shape == (3, 10)
