"""The course, row by row: seed 004, row 1 of the inventory is 004_1. Calls stand here as the course writes them.

Numbers in float64 on each device. Where a printed number is wrong, the right one stands here, and why. Trainings are a
few steps: `sixty_thousand` makes the 60,000 images that the scripts expect by repeating the digits of the package;
examples/ has the trainings in full.
"""

import io
import warnings
from contextlib import redirect_stdout

import numpy as np
import pytest
from compare import gradcheck

import nnfast
from nnfast import datasets, layers, losses, ops, optimizers
from nnfast.models import Sequential


@pytest.fixture(scope="session")
def mnist_folder(tmp_path_factory):
    """A folder with an mnist.npz of 60,000 and 10,000 images: the shipped digits, ten times."""
    folder = tmp_path_factory.mktemp("mnist")
    (x, y), (x_test, y_test) = datasets.digits.load_data()
    many = {"x_train": np.tile(x, (10, 1, 1)), "y_train": np.tile(y, 10)}
    many |= {"x_test": np.tile(x_test, (10, 1, 1)), "y_test": np.tile(y_test, 10)}
    np.savez(folder / "mnist.npz", **many)
    return folder


@pytest.fixture
def sixty_thousand(mnist_folder, monkeypatch):
    """`mnist.load_data()` finds them."""
    monkeypatch.setenv("NNFAST_DATA", str(mnist_folder))
    nnfast.utils.set_random_seed(1)
    return datasets.mnist.load_data


def run(script, **names):
    """Runs a script of the course, and returns its names and what it printed."""
    printed = io.StringIO()
    with redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # legacy spellings warn
        exec(script, names)
    return names, printed.getvalue()


def summary(model):
    lines = []
    model.summary(print_fn=lines.append)
    return "\n".join(str(line) for line in lines)


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


# ---- seed 000: the first network ----


def test_000_1_data(sixty_thousand, aliases):
    aliases("keras")
    names, printed = run(
        """
from keras.datasets import mnist
from keras.src.backend import shape
(train_images, train_labels), (test_images, test_labels) = mnist.load_data()
print(train_images.shape)
print(len(train_labels))
print(train_labels)
print(test_images.shape)
print(len(test_labels))
"""
    )
    assert printed.split("\n")[:2] == ["(60000, 28, 28)", "60000"]
    assert printed.split("\n")[-3:-1] == ["(10000, 28, 28)", "10000"]
    assert names["train_labels"].dtype == np.uint8 and printed.split("\n")[2].startswith("[5 0 4 ...")
    assert names["shape"](names["train_images"]) == (60000, 28, 28)


def test_000_3_compile_names(digits):
    """'accuracy' of one-hot targets is the categorical one."""
    (x, y), _ = digits
    network = course_models()["000_2"]
    network.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    assert isinstance(network.optimizer, optimizers.RMSprop)
    data, one_hot = x[:100].reshape(100, 784) / 255, nnfast.utils.to_categorical(y[:100], 10)
    loss, accuracy = network.evaluate(data, one_hot, verbose=0)
    p = network.predict(data, verbose=0)
    assert accuracy == pytest.approx((p.argmax(1) == y[:100]).mean())
    assert loss == pytest.approx(-np.log(p[np.arange(100), y[:100]]).mean(), rel=1e-5)


def test_000_4_preprocessing(sixty_thousand):
    (train_images, _), (test_images, _) = sixty_thousand()
    train_images = train_images.reshape((60000, 28 * 28))
    train_images = train_images.astype("float32") / 255
    test_images = test_images.reshape((10000, 28 * 28)).astype("float32") / 255
    assert train_images.shape == (60000, 784) and train_images.dtype == test_images.dtype == np.float32
    assert train_images.min() == 0 and train_images.max() == 1


def test_000_5_one_hot(sixty_thousand):
    from nnfast.utils import to_categorical

    (_, train_labels), _ = sixty_thousand()
    rows = to_categorical(train_labels)
    assert rows.shape == (60000, 10) and rows.dtype.kind == "f"
    assert (rows.sum(1) == 1).all() and (rows.argmax(1) == train_labels).all()


RECAP = """
from keras.datasets import mnist
from keras import models, layers
from keras.utils import to_categorical
(train_images, train_labels), (test_images, test_labels) = mnist.load_data()
network = models.Sequential()
network.add(layers.Dense(512, activation='relu', input_shape=(28*28,)))
network.add(layers.Dense(10, activation='softmax'))
network.compile(optimizer='rmsprop', loss='categorical_crossentropy', metrics=['accuracy'])
train_images = train_images.reshape((60000, 28*28)).astype('float32') / 255
test_images = test_images.reshape((10000, 28*28)).astype('float32') / 255
train_labels = to_categorical(train_labels)
test_labels = to_categorical(test_labels)
FIT
test_loss, test_acc = network.evaluate(test_images, test_labels)
print('test_acc:', test_acc)
"""


def test_000_6_000_23_recap_script(sixty_thousand, aliases):
    """One file from 000-1 to 000-8, with the import lines as they are; 469 steps an epoch, of which eight are run."""
    aliases("keras")
    fit = "network.fit(train_images, train_labels, epochs=5, batch_size=128, steps_per_epoch=8)"
    names, printed = run(RECAP.replace("FIT", fit))
    assert int(names["network"].optimizer.iterations) == 5 * 8
    assert names["test_acc"] > 0.8 and f"test_acc: {names['test_acc']}" in printed
    assert "Epoch 5/5" in printed and "accuracy: " in printed and "loss: " in printed
    assert -(-60000 // 128) == 469 and 5 * 469 == 2345


def test_000_8_evaluate_gives_two_floats(digits):
    (x, y), _ = digits
    network = course_models()["000_2"]
    network.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["acc"])
    rows, one_hot = x[:64].reshape(64, 784).astype("float32") / 255, nnfast.utils.to_categorical(y[:64], 10)
    history = network.fit(rows, one_hot, epochs=1, verbose=0).history
    test_loss, test_acc = network.evaluate(rows, one_hot, verbose=0)
    assert isinstance(test_loss, float) and isinstance(test_acc, float) and set(history) == {"loss", "acc"}


def test_000_9_attributes_of_tensors(digits):
    (x, _), _ = digits
    for images in (x, nnfast.tensor(x)):
        assert images.ndim == 3 and images.shape == (2000, 28, 28) and images.dtype == np.uint8
    for value, ndim in ((12, 0), ([12, 3, 6, 14], 1), ([[5, 78, 2], [6, 79, 3]], 2), (np.zeros((3, 3, 5)), 3)):
        assert nnfast.tensor(value).ndim == ndim
    five = nnfast.tensor([12, 3, 6, 14, 7])
    assert five.ndim == 1 and five.shape == (5,) and ops.zeros((1, 2, 3, 4, 5)).ndim == 5


def test_000_10_picture_of_a_digit(digits):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    (train_images, _), _ = digits
    digit = train_images[4]
    picture = plt.imshow(digit, cmap=plt.cm.binary)
    assert (picture.get_array() == digit).all() and picture.get_cmap().name == "binary"
    plt.close("all")


def test_000_11_slices(sixty_thousand):
    (x, _), _ = sixty_thousand()
    for images in (x, nnfast.tensor(x)):
        assert images[10:100].shape == images[10:100, :, :].shape == images[10:100, 0:28, 0:28].shape == (90, 28, 28)
        assert images[:, 14:, 14:].shape == images[:, 7:-7, 7:-7].shape == (60000, 14, 14)
    np.testing.assert_array_equal(nnfast.tensor(x)[10:12, 7:-7, 7:-7].numpy(), x[10:12, 7:-7, 7:-7])


def test_000_12_batches(sixty_thousand):
    (x, _), _ = sixty_thousand()
    images = nnfast.tensor(x)
    for n in (0, 1, 5):
        batch = images[128 * n : 128 * (n + 1)]
        assert batch.shape == (128, 28, 28)
        np.testing.assert_array_equal(batch.numpy(), x[128 * n :][:128])


def test_000_13_both_orders_of_channels():
    x = np.random.default_rng(0).random((2, 6, 6, 3)).astype("float32")
    last, first = (layers.Conv2D(4, 3, data_format=f"channels_{order}") for order in ("last", "first"))
    y = last(x)
    first.build((None, 3, 6, 6))
    first.set_weights(last.get_weights())
    np.testing.assert_allclose(first(x.transpose(0, 3, 1, 2)).numpy().transpose(0, 2, 3, 1), y.numpy(), atol=1e-6)
    video = nnfast.tensor(np.zeros((4, 240, 144, 3, 2), "float32"))
    assert video.ndim == 5 and video.shape == (4, 240, 144, 3, 2)


def test_000_14_layer_as_tensor_operations(device):
    """relu(dot(W, input) + b), the bias by broadcasting; the element-wise loops give the same."""
    rng = np.random.default_rng(0)
    w, x, b = rng.standard_normal((4, 3)), rng.standard_normal((5, 4)), rng.standard_normal(3)
    output = ops.relu(ops.dot(x, w) + b).numpy()
    naive = np.zeros((5, 3))
    for i in range(5):
        for j in range(3):
            total = b[j]
            for k in range(4):
                total += x[i, k] * w[k, j]
            naive[i, j] = max(total, 0.0)
    np.testing.assert_allclose(output, naive, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ops.dense(x, w, b, "relu").numpy(), naive, rtol=1e-12, atol=1e-14)


def test_000_16_reshape_and_transpose(device):
    x = np.arange(6.0).reshape(3, 2)
    t = nnfast.tensor(x)
    assert t.reshape((6, 1)).shape == (6, 1) and t.reshape((2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]
    for i in range(3):
        assert ops.transpose(t)[:, i].tolist() == x[i, :].tolist()


def test_000_17_affine_maps_collapse(device):
    """Rotation, scaling and translation; two affine maps are one; so are two Dense layers without an activation."""
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    turn, scale, shift = np.array([[c, -s], [s, c]]), np.diag([2.0, 0.5]), np.array([3.0, -1.0])
    points = np.array([[1.0, 0], [0, 1], [1, 1]])
    turned = ops.matmul(points, turn.T)
    np.testing.assert_allclose(turned.numpy()[0], [c, s], rtol=1e-12)
    both = ops.matmul(turned + shift, scale.T) + shift
    w, b = scale @ turn, scale @ shift + shift
    np.testing.assert_allclose(both.numpy(), points @ w.T + b, rtol=1e-12)
    model = Sequential([nnfast.Input((2,)), layers.Dense(5, dtype="float64"), layers.Dense(3, dtype="float64")])
    w1, b1, w2, b2 = model.get_weights()
    np.testing.assert_allclose(model(points).numpy(), points @ (w1 @ w2) + (b1 @ w2 + b2), rtol=1e-12)


def test_000_18_activation_gallery(device):
    x = np.array([-3.0, -0.5, 0.0, 0.5, 3.0])
    gallery = {
        ops.sigmoid: 1 / (1 + np.exp(-x)),
        ops.tanh: np.tanh(x),
        ops.relu: np.maximum(x, 0),
        (lambda v: ops.leaky_relu(v, 0.1)): np.maximum(0.1 * x, x),
        (lambda v: ops.elu(v, 1.5)): np.where(x > 0, x, 1.5 * np.expm1(x)),
    }
    for function, expected in gallery.items():
        np.testing.assert_allclose(function(x).numpy(), expected, rtol=1e-12)
    w, b = np.array([[1.0, -0.5]]), np.array([0.0, 1.0])
    maxout = ops.max(ops.matmul(x[:, None], w) + b, axis=1)
    np.testing.assert_allclose(maxout.numpy(), np.maximum(x, -0.5 * x + 1), rtol=1e-12)


def test_000_19_training_loop_by_hand(digits):
    """Batch, forward, loss, update: W -= step * gradient, and the same by train_on_batch."""
    (x, y), _ = digits
    data = x[:128].reshape(128, 784).astype("float32") / 255
    by_hand, by_keras = (Sequential([nnfast.Input((784,)), layers.Dense(10, activation="softmax")]) for _ in range(2))
    by_keras.set_weights(by_hand.get_weights())
    by_keras.compile(optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    history = []
    for _ in range(4):
        with nnfast.GradientTape() as tape:
            loss = losses.SparseCategoricalCrossentropy()(y[:128], by_hand(data))
        for w, g in zip(by_hand.trainable_variables, tape.gradient(loss, by_hand.trainable_variables)):
            w.assign_sub(0.5 * g)
        history.append(loss.item())
        by_keras.reset_metrics()
        assert float(np.ravel(by_keras.train_on_batch(data, y[:128]))[0]) == pytest.approx(history[-1], rel=1e-5)
    assert history[-1] < 0.8 * history[0]


def test_000_20_optimizers_on_a_slope():
    """Each comes near the minimum of (x - 3)^2 from 0; momentum rolls over a bump where plain descent stops."""
    for optimizer in (
        optimizers.SGD(0.1),
        optimizers.SGD(0.1, momentum=0.9),
        optimizers.RMSprop(0.1),
        optimizers.Adagrad(1.0),
    ):
        x = nnfast.Variable(0.0)
        for _ in range(200):
            with nnfast.GradientTape() as tape:
                y = ops.square(x - 3.0)
            optimizer.apply([tape.gradient(y, x)], [x])
        assert x.item() == pytest.approx(3, abs=0.15), optimizer
    ends = {}
    for momentum in (0.0, 0.9):
        x, optimizer = nnfast.Variable(4.0), optimizers.SGD(0.01, momentum=momentum)
        for _ in range(400):
            optimizer.apply([nnfast.tensor(float(2 * x.item() - 4 * np.cos(4 * x.item())))], [x])  # x^2 - sin(4 x)
        ends[momentum] = x.item() ** 2 - np.sin(4 * x.item())
    assert ends[0.9] < ends[0.0] - 0.5


def test_000_21_chain_rule_through_a_graph(device):
    """e = (a + b) * (b + 1) at a = 2, b = 1: de/da = 2, de/db = 5."""
    a, b = nnfast.Variable(2.0, dtype="float64"), nnfast.Variable(1.0, dtype="float64")
    with nnfast.GradientTape() as tape:
        c, d = a + b, b + 1.0
        e = c * d
    assert e.node.op.name == "mul" and e.node.inputs == [c.node, d.node]
    assert e.item() == 6 and [g.item() for g in tape.gradient(e, [a, b])] == [2, 5]


def test_000_22_gradient_tape(device):
    a, b = nnfast.Variable(2.0), nnfast.Variable(3.0)
    with nnfast.GradientTape() as tape:
        y = a * a * b
    assert [g.item() for g in tape.gradient(y, [a, b])] == [12, 4]


# ---- seed 001: slides ----


def test_001_2_naive_relu_and_add(device):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 5))
    relu, total = x.copy(), x.copy()
    for i in range(6):
        for j in range(5):
            relu[i, j] = max(relu[i, j], 0)
            total[i, j] += y[i, j]
    np.testing.assert_array_equal(ops.relu(x).numpy(), relu)
    np.testing.assert_array_equal(ops.add(x, y).numpy(), total)


def test_001_3_broadcasting_and_sizes():
    x, y = np.ones((64, 3, 32, 10)), np.ones((32, 10))
    assert ops.maximum(x, y).shape == (64, 3, 32, 10)
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 3\)"):
        ops.matmul(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2,\)"):
        ops.add(np.ones((2, 3)), np.ones(2))
    a, b = np.array([[1.0, 2], [3, 4]]), np.array([[0.0, 1], [1, 0]])
    assert (ops.matmul(a, b).numpy() != ops.matmul(b, a).numpy()).any()


def test_001_4_five_steps_of_stochastic_gradient_descent(device):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 3))
    y = x @ np.array([[1.0], [-2.0], [0.5]]) + 0.3
    w, b, learning_rate, seen = nnfast.Variable(np.zeros((3, 1))), nnfast.Variable(np.zeros(1)), 0.1, []
    for _ in range(120):
        rows = rng.permutation(256)[:32]
        with nnfast.GradientTape() as tape:
            loss = ops.mean(ops.square(ops.matmul(x[rows], w) + b - y[rows]))
        gradient_w, gradient_b = tape.gradient(loss, [w, b])
        w.assign(w - learning_rate * gradient_w)
        b.assign(b - learning_rate * gradient_b)
        seen.append(loss.item())
    assert seen[-1] < 1e-3 < seen[0]
    np.testing.assert_allclose(w.numpy()[:, 0], [1, -2, 0.5], atol=0.05)


def momentum_loop(remember, momentum=0.1, learning_rate=0.05):
    """The slide's loop on loss = w^2 from 2; it never updates past_velocity, which `remember` puts right."""
    w, past_velocity, loss, steps = 2.0, 0.0, np.inf, 0
    while loss > 0.01:
        with nnfast.GradientTape() as tape:
            v = nnfast.Variable(w, dtype="float64")
            square = v * v
        loss, gradient = square.item(), tape.gradient(square, v).item()
        velocity = past_velocity * momentum - learning_rate * gradient
        w = w + momentum * velocity - learning_rate * gradient
        if remember:
            past_velocity = velocity
        steps += 1
    return w, steps


def test_001_5_momentum_loop():
    """As printed it is plain descent with a rate of (1 + momentum) * learning_rate; corrected it is SGD(nesterov)."""
    w, steps = momentum_loop(remember=False)
    plain, count = 2.0, 0
    while count < steps:
        plain, count = plain - 1.1 * 0.05 * 2 * plain, count + 1
    assert w == pytest.approx(plain, rel=1e-12)
    corrected, fewer = momentum_loop(remember=True, momentum=0.9)
    assert fewer < steps
    v, optimizer = nnfast.Variable(2.0, dtype="float64"), optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    for _ in range(fewer):
        optimizer.apply([2.0 * v], [v])
    assert v.item() == pytest.approx(corrected, rel=1e-9)


# ---- seed 002 ----

X2 = np.array([[1, 3, 3], [1, 4, 31], [1, 1, 1], [1, 0, 2]])
Y2 = np.array([[1], [1], [-1], [-1]])


def test_002_2_perceptron(device):
    """The slide's matrix ends in [1, 0, 3], its code in [1, 0, 2]: the signs are the same."""
    w = np.array([[0.61], [-0.96], [0.02]])
    for last in (2, 3):
        x = X2.copy().astype(float)
        x[3, 2] = last
        assert ops.sign(ops.dot(x, w)).tolist() == [[-1], [-1], [-1], [1]]
    np.random.seed(0)
    w, updates = (np.random.random([3, 1]) - 0.5) * 2, 0
    x = nnfast.tensor(X2.astype(float))
    out = ops.sign(ops.dot(x, w))
    while (out.numpy() != Y2).any():
        w = w + 0.11 * ops.dot(x.T, Y2 - out) / int(x.shape[0])
        out, updates = ops.sign(ops.dot(x, w)), updates + 1
    assert updates == 11


def test_002_3_sigmoid(device):
    z = np.arange(-7, 7, 0.1)
    s = ops.sigmoid(z).numpy()
    np.testing.assert_allclose(s, 1 / (1 + np.exp(-z)), rtol=1e-12)
    assert (np.diff(s) > 0).all() and s[70] == pytest.approx(0.5) and s[0] < 1e-3 and s[-1] > 0.998


def test_002_4_summary_of_a_layer_of_perceptrons(digits):
    (x_train, _), _ = digits
    nnfast.utils.clear_session()
    model = Sequential([layers.Flatten(input_shape=x_train.shape[1:]), layers.Dense(units=10, activation="softmax")])
    text = summary(model)
    for word in ("flatten", "(None, 784)", "dense", "(None, 10)", "7,850", "Total params: 7,850"):
        assert word in text, text
    assert "Trainable params: 7,850" in text and "Non-trainable params: 0" in text


def test_002_5_fit_with_validation(digits):
    (x, y), (x_valid, y_valid) = digits
    model = course_models()["002_4"]
    model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    train = model.fit(x / 255, y, epochs=2, validation_data=(x_valid / 255, y_valid), verbose=0)
    assert set(train.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert int(model.optimizer.iterations) == 2 * -(-len(x) // 32)  # batches of 32 by default
    assert train.history["val_accuracy"][-1] > 0.5


def test_002_6_names_of_the_layers(digits):
    nnfast.utils.clear_session()
    model = course_models()["002_6"]
    first = int(model.layers[1].name.removeprefix("dense").lstrip("_") or 0)
    assert [layer.name.partition("_")[0] for layer in model.layers] == ["flatten", *["dense"] * 4]
    assert [layer.name for layer in model.layers[2:]] == [f"dense_{first + i}" for i in (1, 2, 3)]


@pytest.mark.parametrize(
    "argument, value",
    [
        ("activation", "relu"),
        ("use_bias", False),
        ("kernel_initializer", "ones"),
        ("bias_initializer", "ones"),
        ("kernel_regularizer", "l2"),
        ("bias_regularizer", "l2"),
        ("activity_regularizer", "l2"),
        ("kernel_constraint", "non_neg"),
        ("bias_constraint", "non_neg"),
    ],
)
def test_002_7_every_argument_of_dense_has_an_effect(argument, value):
    x = np.random.default_rng(0).standard_normal((8, 5)).astype("float32")
    y = np.random.default_rng(1).standard_normal((8, 3)).astype("float32") - 2
    results = []
    for options in ({}, {argument: value}):
        nnfast.utils.set_random_seed(3)
        model = Sequential([nnfast.Input((5,)), layers.Dense(units=3, **{"bias_initializer": "normal", **options})])
        model.compile(optimizers.SGD(0.5), "mse")
        model.fit(x, y, epochs=2, verbose=0)
        results.append(model.get_weights())
    pairs = list(zip(*results))
    assert len(results[0]) != len(results[1]) or any((a != b).any() for a, b in pairs)
    if argument.endswith("constraint"):
        assert (results[1][argument.startswith("bias")] >= 0).all()


def test_002_8_epochs_and_batches(digits):
    (x, y), _ = digits
    model = course_models()["002_4"]
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = model.fit(x[:100] / 255, y[:100], epochs=3, batch_size=30, verbose=0)
    assert len(history.history["loss"]) == 3 and int(model.optimizer.iterations) == 3 * 4


def test_002_9_gradients_vanish_through_sigmoids():
    """Norm of the gradient by layer, ten deep: tiny at the beginning with sigmoids, of one size with ReLU and He."""
    x = np.random.default_rng(0).standard_normal((32, 20)).astype("float32")
    first_to_last = {}
    for activation, initializer in (("sigmoid", "glorot_uniform"), ("relu", "he_normal")):
        nnfast.utils.set_random_seed(0)
        model = Sequential([nnfast.Input((20,))])
        for _ in range(10):
            model.add(layers.Dense(20, activation=activation, kernel_initializer=initializer))
        with nnfast.GradientTape() as tape:
            loss = ops.mean(ops.square(model(x) - 1.0))
        kernels = model.trainable_variables[::2]
        norms = [np.linalg.norm(g.numpy()) for g in tape.gradient(loss, kernels)]
        first_to_last[activation] = norms[0] / norms[-1]
    assert first_to_last["sigmoid"] < 1e-4 and first_to_last["relu"] > 1e-2


def test_002_10_activations_by_hand(device):
    x = np.array([-2.0, -1.0, 0.0, 1.0, 3.0])
    np.testing.assert_allclose(ops.softmax(x).numpy(), np.exp(x) / sum(np.exp(x)), rtol=1e-12)
    tanh = (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))
    np.testing.assert_allclose(ops.tanh(x).numpy(), tanh, rtol=1e-12)
    np.testing.assert_array_equal(ops.relu(x).numpy(), np.where(x < 0, 0, x))
    np.testing.assert_allclose(ops.leaky_relu(x, 0.2).numpy(), np.where(x > 0, x, 0.2 * x), rtol=1e-12)
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.isnan(np.exp(x * 1000) / sum(np.exp(x * 1000))).any()  # the formula as written overflows
    assert ops.softmax(x * 1000).tolist() == [0, 0, 0, 0, 1]


def test_002_11_learned_and_random_slopes():
    x = -np.ones((400, 3), "float32")
    prelu = layers.PReLU(alpha_initializer="zeros")
    with nnfast.GradientTape() as tape:
        y = ops.sum(prelu(x))
    assert y.item() == 0 and (tape.gradient(y, prelu.trainable_variables[0]).numpy() == -400).all()
    rrelu = layers.RReLU(0.1, 0.3)
    slopes = -np.asarray(rrelu(x, training=True))
    assert slopes.std() > 0.01 and slopes.min() >= 0.1 and slopes.max() <= 0.3
    np.testing.assert_allclose(np.asarray(rrelu(x, training=False)), -0.2, rtol=1e-6)
    np.testing.assert_allclose(ops.leaky_relu(x, 0.01).numpy(), -0.01, rtol=1e-6)
    np.testing.assert_allclose(ops.leaky_relu(x, 1 / 4.0).numpy(), x / 4)  # the form x / a


def test_002_12_squared_error(device):
    errors = [
        losses.mean_squared_error(np.array([y]), np.array([p])).item()
        for y, p in ((1.0, 1.0), (1.0, 0.9997), (0.0, 0.1192))
    ]
    np.testing.assert_allclose(errors, [0, 9.0e-08, 0.01420864], rtol=1e-9)


def test_002_13_mean_errors(device):
    """Mean, without the factor 1/2 of seed 004's second form."""
    t, p = np.array([[1.0], [2.0], [4.0]]), np.array([[1.5], [2.0], [1.0]])
    assert losses.MeanSquaredError()(t, p).item() == pytest.approx((0.25 + 9) / 3)
    assert losses.MeanAbsoluteError()(t, p).item() == pytest.approx(3.5 / 3)


def test_002_14_binary_cross_entropy(device):
    values = [
        losses.binary_crossentropy(np.array([y]), np.array([p])).item() for y, p in ((1.0, 0.9997), (0.0, 0.1192))
    ]
    np.testing.assert_allclose(values, [0.000300045, 0.126924694], rtol=2e-6)


def test_002_15_cross_entropy_of_a_row(device):
    """The slide has 0.156; -ln 0.21 is 1.5606. Its row sums to 1.01, by which bare probabilities are divided."""
    row = np.array([[0.09, 0.07, 0.08, 0.08, 0.09, 0.10, 0.10, 0.21, 0.10, 0.09]])
    assert row.sum() == pytest.approx(1.01)
    value = losses.SparseCategoricalCrossentropy()(np.array([7]), row).item()
    assert value == pytest.approx(-np.log(0.21 / 1.01), rel=1e-12)
    assert -np.log(0.21) == pytest.approx(1.5606, abs=5e-5) and value - np.log(1.01) == pytest.approx(1.5606, abs=5e-5)


def test_002_16_loss_objects(digits, aliases):
    aliases("tensorflow")
    (x, y), _ = digits
    data, found = x[:200] / 255, []
    names, _ = run("import tensorflow as tf; loss = tf.keras.losses.SparseCategoricalCrossentropy()")
    one_hot = nnfast.utils.to_categorical(y[:200], 10)
    for loss, targets in (
        (names["loss"], y[:200]),
        ("sparse_categorical_crossentropy", y[:200]),
        ("categorical_crossentropy", one_hot),
        (losses.CategoricalCrossentropy(), one_hot),
    ):
        nnfast.utils.set_random_seed(2)
        model = course_models()["002_4"]
        model.compile(optimizer="sgd", loss=loss, metrics=["accuracy"])
        found.append(model.fit(data, targets, epochs=1, verbose=0).history)
    for other in found[1:]:
        assert other["loss"] == pytest.approx(found[0]["loss"], rel=1e-6) and other["accuracy"] == found[0]["accuracy"]


def test_002_18_hinge(digits):
    """Two digits, linear scores: hinge and an L2 penalty are a support vector machine."""
    (x, y), (x_test, y_test) = digits
    nnfast.utils.set_random_seed(0)

    def pair(images, labels):
        rows = (labels == 3) | (labels == 8)
        return images[rows].reshape(-1, 784) / 255, np.where(labels[rows] == 3, 1, -1)

    model = Sequential([nnfast.Input((784,)), layers.Dense(1, kernel_regularizer=nnfast.regularizers.L2(1e-3))])
    model.compile("adam", "hinge")
    (data, sign), (test, test_sign) = pair(x, y), pair(x_test, y_test)
    model.fit(data, sign, epochs=12, verbose=0)
    right = np.sign(model.predict(test, verbose=0)[:, 0]) == test_sign
    assert right.mean() > 0.93
    assert losses.hinge(np.array([[1.0, -1.0]]), np.array([[0.3, 0.5]])).item() == pytest.approx((0.7 + 1.5) / 2)


def test_002_20_sizes_of_batches(digits):
    """All samples, one, and 32: the same data, so many steps an epoch."""
    (x, y), _ = digits
    data, targets = x[:64] / 255, y[:64]
    for batch_size, steps in ((len(data), 1), (1, 64), (32, 2)):
        model = course_models()["002_4"]
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(data, targets, batch_size=batch_size, epochs=1, verbose=0)
        assert int(model.optimizer.iterations) == steps
    model = Sequential([layers.Flatten(), layers.Dense(1)])
    model.compile(optimizers.SGD(10.0), "mse")  # a learning rate that is too large
    with pytest.raises(ValueError, match=r"the loss is \w+ at batch.*Lower the learning rate"):
        model.fit(data, targets, epochs=20, verbose=0)


COMMON = {
    "weight_decay": None, "clipnorm": None, "clipvalue": None, "global_clipnorm": None, "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None, "jit_compile": True,
}  # fmt: skip
OPTIMIZERS = {
    "002_21": ("SGD", {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False}),
    "002_22": ("Adagrad", {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-07}),
    "002_23": ("Adadelta", {"learning_rate": 0.001, "rho": 0.95, "epsilon": 1e-07}),
    "002_24": (
        "RMSprop",
        {
            "learning_rate": 0.001,
            "rho": 0.9,
            "momentum": 0.0,
            "epsilon": 1e-07,
            "centered": False,
            "ema_overwrite_frequency": 100,
        },
    ),
    "002_25": ("Adam", {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07, "amsgrad": False}),
}


@pytest.mark.parametrize("row", OPTIMIZERS)
def test_002_21_to_25_optimizers_as_written(row):
    """jit_compile=True included, which Keras 3 refuses. The defaults are those of the course."""
    name, own = OPTIMIZERS[row]
    w, v = nnfast.Variable([1.0, -2.0]), nnfast.Variable([1.0, -2.0])
    written = getattr(optimizers, name)(**{**COMMON, **own}, name=name)
    plain = getattr(optimizers, name)(learning_rate=own["learning_rate"])
    for _ in range(3):
        written.apply([nnfast.tensor([0.5, -1.0])], [w])
        plain.apply([nnfast.tensor([0.5, -1.0])], [v])
    assert written.name == name and w.tolist() == v.tolist() and (np.sign(w.numpy() - [1, -2]) == [-1, 1]).all()


def test_002_26_update_rules(device):
    """One step from w = 1 with g = 0.5, by the slide's formulas; Keras's momentum has no (1 - gamma)."""
    g, lr = 0.5, 0.1
    expected = {
        optimizers.SGD(lr): 1 - lr * g,
        optimizers.SGD(lr, momentum=0.9): 1 - lr * g,  # the slide's average would move by a tenth of it
        optimizers.Adagrad(lr, initial_accumulator_value=0.0): 1 - lr * g / np.sqrt(g * g + 1e-7),
        optimizers.RMSprop(lr): 1 - lr * g / np.sqrt(0.1 * g * g + 1e-7),
        optimizers.Adam(lr): 1 - lr * np.sqrt(1e-3) / 0.1 * (0.1 * g) / (np.sqrt(1e-3 * g * g) + 1e-7),
        optimizers.Adadelta(lr): 1 - lr * np.sqrt(1e-7) * g / np.sqrt(0.05 * g * g + 1e-7),
    }
    for optimizer, value in expected.items():
        w = nnfast.Variable(1.0, dtype="float64")
        optimizer.apply([nnfast.tensor(np.array(g))], [w])
        assert w.item() == pytest.approx(value, rel=1e-12), optimizer


def test_002_28_ten_optimizers():
    names = ["SGD", "RMSprop", "Adam", "AdamW", "Adadelta", "Adagrad", "Adamax", "Adafactor", "Nadam", "Ftrl"]
    for name in names:
        for optimizer in (getattr(optimizers, name)(), optimizers.get(name), optimizers.get(name.lower())):
            w = nnfast.Variable([1.0, 2.0])
            for _ in range(3):
                optimizer.apply([nnfast.tensor([1.0, 1.0])], [w])
            assert type(optimizer).__name__ == name and (w.numpy() != [1, 2]).all(), name


def test_002_29_spellings_of_the_course(digits, aliases):
    aliases("tensorflow", "keras")
    (x, y), _ = digits
    for line in ("'sgd'", "keras.optimizers.Adam(learning_rate=0.01)", "tf.keras.optimizers.SGD(learning_rate=0.01)"):
        names, _ = run(f"import tensorflow as tf; import keras; opt = {line}")
        model = course_models()["002_4"]
        model.compile(loss="sparse_categorical_crossentropy", optimizer=names["opt"], metrics=["accuracy"])
        history = model.fit(x[:320] / 255, y[:320], epochs=3, verbose=0).history["loss"]
        assert history[-1] < history[0]
        assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_002_30_remedies_of_deep_networks():
    """Twelve layers: with sigmoids nothing is learned; He's weights and ReLU, or normalised batches, learn."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 10)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    end = {}
    for name, activation, initializer, normal in (
        ("sigmoid", "sigmoid", "glorot_uniform", False),
        ("relu, he", "relu", "he_normal", False),
        ("batch normalization", "sigmoid", "glorot_uniform", True),
    ):
        nnfast.utils.set_random_seed(0)
        model = Sequential([nnfast.Input((10,))])
        for _ in range(12):
            model.add(layers.Dense(16, kernel_initializer=initializer))
            if normal:
                model.add(layers.BatchNormalization())
            model.add(layers.Activation(activation))
        model.add(layers.Dense(2, activation="softmax"))
        model.compile(optimizers.SGD(0.05, momentum=0.9, clipnorm=1.0), "sparse_categorical_crossentropy")
        end[name] = model.fit(x, y, epochs=8, verbose=0).history["loss"][-1]
    assert end["sigmoid"] > 0.65 and end["relu, he"] < 0.4 and end["batch normalization"] < 0.6, end


def test_002_31_regularizers():
    from nnfast import regularizers

    layer = layers.Dense(
        units=64,
        kernel_regularizer=regularizers.L1L2(l1=1e-5, l2=1e-4),
        bias_regularizer=regularizers.L2(1e-4),
        activity_regularizer=regularizers.L2(1e-5),
        bias_initializer="ones",
    )
    y = layer(np.ones((5, 10), "float32"))
    kernel, bias = layer.get_weights()
    expected = [
        1e-5 * (y.numpy() ** 2).sum() / 5,
        1e-5 * abs(kernel).sum() + 1e-4 * (kernel**2).sum(),
        1e-4 * (bias**2).sum(),
    ]
    assert len(layer.losses) == 3
    np.testing.assert_allclose(sorted(v.item() for v in layer.losses), sorted(expected), rtol=1e-5)
    model = Sequential([layer])
    model.compile("sgd", "mse")
    x = np.ones((5, 10), "float32")
    assert model.evaluate(x, y.numpy(), verbose=0) == pytest.approx(sum(expected), rel=1e-5)


def test_002_32_dropout():
    layer = layers.Dropout(0.4, noise_shape=None, seed=3)
    x = np.ones((1000, 20), "float32")
    y = layer(x, training=True).numpy()
    assert set(np.unique(y)) == {0, np.float32(1 / 0.6)} and y.mean() == pytest.approx(1, abs=0.03)
    np.testing.assert_array_equal(layer(x, training=False).numpy(), x)


FUNCTIONAL = """
from tensorflow import keras
from tensorflow.keras import layers
vocabulary_size = 10000
num_tags = 100
num_departments = 4
title = keras.Input(shape=(vocabulary_size,), name="title")
text_body = keras.Input(shape=(vocabulary_size,), name="text_body")
tags = keras.Input(shape=(num_tags,), name="tags")
features = layers.Concatenate()([title, text_body, tags])
features = layers.Dense(64, activation="relu")(features)
priority = layers.Dense(1, activation="sigmoid", name="priority")(features)
department = layers.Dense(num_departments, activation="softmax", name="department")(features)
model = keras.Model(inputs=[title, text_body, tags], outputs=[priority, department])
model.summary()
"""


def test_002_34_three_inputs_two_outputs(aliases):
    aliases("tensorflow.keras")
    names, printed = run(FUNCTIONAL)
    model = names["model"]
    assert model.count_params() == 1_286_789
    assert [layer.count_params() for layer in model.layers if layer.weights] == [1_286_464, 65, 260]
    for word in ("Connected to", "Total params: 1,286,789", "title", "text_body", "department"):
        assert word in printed, printed
    rng = np.random.default_rng(0)
    inputs = [rng.integers(0, 2, (6, n)).astype("float32") for n in (10000, 10000, 100)]
    targets = [rng.random((6, 1)).astype("float32"), np.eye(4, dtype="float32")[rng.integers(0, 4, 6)]]
    model.compile("adam", loss={"priority": "mse", "department": "categorical_crossentropy"})
    first, last = model.fit(inputs, targets, epochs=4, verbose=0).history["loss"][::3]
    assert last < first
    assert [p.shape for p in model.predict(inputs, verbose=0)] == [(6, 1), (6, 4)]


def test_002_35_list_form(digits, aliases):
    aliases("tensorflow.keras")
    (x_train, _), _ = digits
    names, printed = run(
        """
from tensorflow import keras
from tensorflow.keras.models import Sequential
from tensorflow.keras.layers import Flatten, Dense
model = Sequential([
    Flatten(input_shape=x_train.shape[1:]),
    Dense (units=300, activation='relu'),
    Dense (units=200, activation='relu'),
    Dense (units=100, activation='relu'),
    Dense (units=10, activation='softmax')
])
model.summary()
""",
        x_train=x_train,
    )
    assert names["model"].count_params() == 316_810 and "316,810" in printed


# ---- seed 003 ----


def test_003_4_derivatives(device):
    """Of (2x^3 + 3x^2) x^2, 4 / (x + 1), (2x^3 + x + 3)^7 and the partials of x^2 + xy + y^2, symbol for number."""

    def derivative(f, *at):
        variables = [nnfast.Variable(float(v), dtype="float64") for v in at]
        with nnfast.GradientTape() as tape:
            y = f(*variables)
        found = tape.gradient(y, variables)
        return [g.item() for g in found] if len(at) > 1 else found[0].item()

    for x in (-1.5, 0.5, 2.0):
        assert derivative(lambda v: (2.0 * v**3 + 3.0 * v**2) * v**2, x) == pytest.approx(
            10 * x**4 + 12 * x**3, rel=1e-12
        )
        assert derivative(lambda v: 4.0 / (v + 1.0), x) == pytest.approx(-4 / (x + 1) ** 2, rel=1e-12)
        inner = 2 * x**3 + x + 3
        chain = 7 * inner**6 * (6 * x**2 + 1)
        assert derivative(lambda v: (2.0 * v**3 + v + 3.0) ** 7, x) == pytest.approx(chain, rel=1e-11)
    assert derivative(lambda x, y: x**2 + x * y + y**2, 3, -2) == [2 * 3 - 2, 3 - 2 * 2]


def test_003_5_descent(device):
    """7x^2 + 12x + 2 has its minimum at -6/7, 7x^2 + y^2 + 2x + 2y at (-1/7, -1)."""

    def descend(f, start):
        at = [nnfast.Variable(float(v), dtype="float64") for v in start]
        for _ in range(200):
            with nnfast.GradientTape() as tape:
                y = f(*at)
            for v, g in zip(at, tape.gradient(y, at)):
                v.assign_sub(0.05 * g)
        return [v.item() for v in at]

    assert descend(lambda x: 7.0 * x * x + 12.0 * x + 2.0, [4]) == pytest.approx([-6 / 7], abs=1e-9)
    assert descend(lambda x, y: 7.0 * x * x + y * y + 2.0 * x + 2.0 * y, [2, 2]) == pytest.approx(
        [-1 / 7, -1], abs=1e-7
    )


def test_003_6_columns_and_rows(device):
    """sigma(W A + B) with columns of neurons is the transpose of sigma(a W + b) with rows, which nnfast uses."""
    rng = np.random.default_rng(0)
    w, a, b = rng.standard_normal((3, 4)), rng.standard_normal((4, 1)), rng.standard_normal((3, 1))
    columns = ops.sigmoid(ops.matmul(w, a) + b).numpy()
    np.testing.assert_allclose(ops.dense(a.T, w.T, b[:, 0], "sigmoid").numpy().T, columns, rtol=1e-12)


def test_003_8_backpropagation_is_a_product_of_factors(device):
    """dL/dW = dY/dW * dA/dY * dL/dA for A = sigmoid(Y), Y = W X, L = (A - t)^2."""
    w, x, t = 0.7, 1.3, 0.2
    v = nnfast.Variable(w, dtype="float64")
    with nnfast.GradientTape() as tape:
        loss = ops.square(ops.sigmoid(v * x) - t)
    a = 1 / (1 + np.exp(-w * x))
    assert tape.gradient(loss, v).item() == pytest.approx(x * a * (1 - a) * 2 * (a - t), rel=1e-12)


def test_003_9_overfitting_and_penalties(digits):
    """Fifty images learned by heart: the gap to the test images shows; lambda * sum(w^2) enters the loss."""
    (x, y), (x_test, y_test) = digits
    nnfast.utils.set_random_seed(0)
    model = Sequential([layers.Flatten(input_shape=(28, 28)), layers.Dense(64, "relu"), layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x[:50] / 255, y[:50], epochs=30, validation_data=(x_test / 255, y_test), verbose=0).history
    assert history["accuracy"][-1] > 0.95 and history["val_accuracy"][-1] < history["accuracy"][-1] - 0.15
    penalised = layers.Dense(3, kernel_regularizer=nnfast.regularizers.L2(0.1))
    penalised.build((None, 4))
    assert penalised.losses[0].item() == pytest.approx(0.1 * (penalised.get_weights()[0] ** 2).sum(), rel=1e-5)


def test_003_10_setup_lines(monkeypatch, aliases):
    """KERAS_BACKEND is of no consequence."""
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    aliases("keras")
    assert run("import numpy; import keras")[0]["keras"].layers.Dense is layers.Dense


LAB = """
import numpy
from keras.datasets import mnist
from keras.models import Sequential
from keras.layers import Dense, Dropout, Activation, Conv2D, MaxPooling2D, Flatten
from keras.utils import np_utils
from tensorflow.keras.optimizers import SGD
(train_data, train_ans), (test_data, test_ans) = mnist.load_data()
"""


def test_003_11_data(sixty_thousand, aliases):
    aliases("keras", "tensorflow.keras")
    names, _ = run(
        LAB
        + """
train_data = train_data.reshape(60000, 784)
test_data = test_data.reshape(10000, 784)
train_ans = np_utils.to_categorical(train_ans, 10)
test_ans = np_utils.to_categorical(test_ans, 10)
"""
    )
    assert names["train_data"].dtype == np.uint8 and names["train_data"].max() == 255  # not scaled
    assert names["train_ans"].shape == (60000, 10) and names["train_ans"][0].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]


MLP = """
train_data, test_data = train_data.reshape(60000, 784), test_data.reshape(10000, 784)
labels = test_ans
train_ans, test_ans = np_utils.to_categorical(train_ans, 10), np_utils.to_categorical(test_ans, 10)
model = Sequential()
model.add(Dense(800, input_dim=784))
model.add(Activation('sigmoid'))
model.add(Dropout(0.4))
model.add(Dense(800, input_dim=800))
model.add(Activation('sigmoid'))
model.add(Dropout(0.4))
model.add(Dense(10, input_dim=800))
model.add(Activation('softmax'))
model.compile(loss='mse', optimizer=SGD(learning_rate=0.1), metrics=['accuracy'])
model.summary()
history = model.fit(train_data, train_ans, batch_size=50, epochs=2, steps_per_epoch=10)
score = model.evaluate(test_data[:2000], test_ans[:2000])
print("loss : ", score[0])
print("acc : ", score[1])
predict = model.predict(test_data[:2000])
predict = numpy.argmax(predict, axis=-1)
model.save("handwriting_model.h5")
from keras.models import load_model
model2 = load_model("handwriting_model.h5")
"""


def test_003_12_003_14_003_16_mlp_lab(sixty_thousand, aliases, tmp_path, monkeypatch):
    """The whole lab: 0 to 255 into sigmoids, mse, evaluate, argmax, save as .h5 and load (Keras 3.15.1 fails there)."""
    aliases("keras", "tensorflow.keras")
    monkeypatch.chdir(tmp_path)
    names, printed = run(LAB + MLP)
    model, model2, score = names["model"], names["model2"], names["score"]
    assert "Total params: 1,276,810" in printed and np.isfinite(names["history"].history["loss"]).all()
    assert len(score) == 2 and all(isinstance(v, float) for v in score)
    assert score[1] == pytest.approx((names["predict"] == names["labels"][:2000]).mean())
    data = names["test_data"][:50]
    np.testing.assert_array_equal(model2.predict(data, verbose=0), model.predict(data, verbose=0))
    assert model2.evaluate(names["test_data"][:2000], names["test_ans"][:2000], verbose=0) == score
    assert float(model2.optimizer.learning_rate) == pytest.approx(0.1) and 60000 // 50 == 1200


def test_003_15_viewer_function(digits):
    """What the slider calls: a picture in greys and the predicted digit."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    _, (test_data, _) = digits
    test_data = test_data.reshape(-1, 784)
    predict = np.argmax(course_models()["000_2"].predict(test_data[:20], verbose=0), axis=-1)
    for index in (0, 19):
        picture = plt.imshow(test_data[index].reshape(28, 28), cmap="Greys")
        assert picture.get_array().shape == (28, 28) and 0 <= predict[index] <= 9
    plt.close("all")


def test_003_17_convolution_by_hand(device):
    """A horizontal stroke as the kernel: 341 on the slide's patch, 0, 425, 707 on others; steps, zeros, pooling."""
    kernel = np.array([[0.0, 0, 0], [1, 1, 1], [0, 0, 0]])
    patches = {
        341: [[0, 0, 29], [0, 86, 255], [0, 170, 255]],
        0: [[29, 86, 255], [0, 0, 0], [170, 255, 0]],
        425: [[0, 86, 255], [0, 170, 255], [0, 0, 0]],
        707: [[0, 0, 0], [197, 255, 255], [86, 0, 0]],
    }
    for value, patch in patches.items():
        x = np.array(patch, float).reshape(1, 3, 3, 1)
        assert ops.conv2d(x, kernel.reshape(3, 3, 1, 1)).item() == value
    image = np.random.default_rng(0).random((1, 28, 28, 1))
    filters = np.random.default_rng(1).random((3, 3, 1, 20))
    assert ops.conv2d(image, filters).shape == (1, 26, 26, 20)
    assert ops.conv2d(image, filters, strides=2).shape == (1, 13, 13, 20)
    same = ops.conv2d(image, filters, padding="same")
    assert same.shape == (1, 28, 28, 20) and same.size == 20 * image.size
    pooled = ops.max_pool2d(same, 2)
    assert pooled.shape == (1, 14, 14, 20) and pooled.size == 5 * image.size
    small = np.array([[1.0, 3, 2, 1], [4, 6, 5, 0], [7, 2, 8, 1], [0, 1, 3, 9]]).reshape(1, 4, 4, 1)
    assert ops.max_pool2d(small, 2).numpy()[0, :, :, 0].tolist() == [[6, 5], [7, 9]]
    assert ops.avg_pool2d(small, 2).numpy()[0, :, :, 0].tolist() == [[3.5, 2], [2.5, 5.25]]


CNN = """
train_data, test_data = train_data.reshape(60000, 28, 28, 1), test_data.reshape(10000, 28, 28, 1)
train_ans, test_ans = np_utils.to_categorical(train_ans, 10), np_utils.to_categorical(test_ans, 10)
model = Sequential()
model.add(Conv2D(32, (3, 3), padding="same", input_shape=(28, 28, 1)))
model.add(Activation("relu"))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Conv2D(64, (3, 3), padding="same"))
model.add(Activation("relu"))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Conv2D(128, (3, 3), padding="same"))
model.add(Activation("relu"))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Flatten())
model.add(Dense(200, input_dim=28*28))
model.add(Activation("relu"))
model.add(Dense(10, input_dim=200))
model.add(Activation("softmax"))
model.compile(loss='mse', optimizer=SGD(learning_rate=0.008), metrics=['accuracy'])
model.fit(train_data, train_ans, batch_size=50, epochs=1, steps_per_epoch=3)
model.save("handwriting_model.h5")
"""


def test_003_18_cnn_lab(sixty_thousand, aliases, tmp_path, monkeypatch):
    aliases("keras", "tensorflow.keras")
    monkeypatch.chdir(tmp_path)
    names, _ = run(LAB + CNN)
    assert names["model"].count_params() == 325_282
    loaded = nnfast.models.load_model("handwriting_model.h5")
    data = names["test_data"][:20]
    np.testing.assert_array_equal(loaded.predict(data, verbose=0), names["model"].predict(data, verbose=0))


def test_003_20_recurrent_equations(device):
    """H_t = tanh(x_t W + H_(t-1) U + b), step by step; repeated multiplication by a large U explodes."""
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    layer = layers.SimpleRNN(4, return_sequences=True, dtype="float64", bias_initializer="normal")
    y = layer(x).numpy()
    w, u, b = layer.get_weights()
    h = np.zeros((2, 4))
    for t in range(5):
        h = np.tanh(x[:, t] @ w + h @ u + b)
        np.testing.assert_allclose(y[:, t], h, rtol=1e-10)
    output = layers.Dense(2, activation="sigmoid", dtype="float64")(y[:, -1])
    assert output.shape == (2, 2)
    norms = []
    for scale in (0.5, 2.0):
        linear = layers.SimpleRNN(1, activation="linear", dtype="float64")
        linear.build((None, 20, 1))
        linear.set_weights([[[1.0]], [[scale]], [0.0]])
        with nnfast.GradientTape() as tape:
            end = ops.sum(linear(np.ones((1, 20, 1))))
        norms.append(abs(tape.gradient(end, linear.trainable_variables[1]).item()))
    assert norms[0] < 5 and norms[1] > 1e6


def test_003_21_sentiment_with_an_lstm():
    """Words as numbers, embedded, read by an LSTM: does a sentence hold more of the good words than of the bad?"""
    rng = np.random.default_rng(0)
    words = rng.integers(1, 40, (600, 12))
    labels = ((words < 10).sum(1) > ((words >= 10) & (words < 20)).sum(1)).astype("float32")
    nnfast.utils.set_random_seed(0)
    model = Sequential([nnfast.Input((12,)), layers.Embedding(40, 8), layers.LSTM(12), layers.Dense(1, "sigmoid")])
    model.compile(optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(words, labels, epochs=8, verbose=0).history
    assert history["accuracy"][-1] > 0.9


# ---- seed 004: spiral, loaders, PyTorch ----


def spiral(n=100, classes=3):
    """The generator of the notes' book: arms of a spiral with noise from NumPy's legacy generator, seed 0."""
    np.random.seed(0)
    x, y = np.zeros((n * classes, 2)), np.zeros(n * classes, dtype="uint8")
    for j in range(classes):
        r = np.linspace(0.0, 1, n)
        t = np.linspace(j * 4, (j + 1) * 4, n) + np.random.randn(n) * 0.2
        x[n * j : n * (j + 1)] = np.c_[r * np.sin(t), r * np.cos(t)]
        y[n * j : n * (j + 1)] = j
    return x, y


def spiral_regression():
    x, y = spiral()
    ones = np.hstack([np.ones((len(x), 1)), x])
    w, history = np.zeros((3, 3)), []
    for _ in range(200):
        loss, gradient = regression(ones, w, y, 1e-3)
        history.append(loss)
        w = w - 1.0 * gradient
    return x, y, ones, w, history


def test_004_9_spiral():
    """A straight line cannot divide a spiral: 0.49 with softmax regression; a hidden layer can."""
    x, y, ones, w, history = spiral_regression()
    assert history[0] == pytest.approx(1.0986, abs=5e-5) and history[-1] == pytest.approx(0.796, abs=2e-3)
    accuracy = (ops.argmax(ops.matmul(ones, w), axis=1).numpy() == y).mean()
    assert accuracy == pytest.approx(0.49, abs=0.01)
    assert len(history[: -1 : len(history) // 10]) == 10
    nnfast.utils.set_random_seed(0)
    model = Sequential([nnfast.Input((2,)), layers.Dense(64, "relu"), layers.Dense(3, "softmax")])
    model.compile(optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=40, verbose=0)
    assert model.evaluate(x, y, verbose=0)[1] > 0.9


def test_004_10_decision_boundary():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    x, y, _, w, _ = spiral_regression()
    h = 0.02
    low, high = x.min(0) - 1, x.max(0) + 1
    xx, yy = np.meshgrid(np.arange(low[0], high[0], h), np.arange(low[1], high[1], h))
    points = np.c_[np.ones(xx.size), xx.ravel(), yy.ravel()]
    classes = ops.argmax(ops.matmul(points, w), axis=1).numpy().reshape(xx.shape)
    assert set(np.unique(classes)) == {0, 1, 2}
    plt.contourf(xx, yy, classes, cmap=plt.cm.Spectral, alpha=0.3)
    drawn = plt.scatter(x[:, 0], x[:, 1], c=y, s=40, cmap=plt.cm.Spectral)
    assert len(drawn.get_offsets()) == 300
    plt.close("all")


def test_004_11_mnist_through_keras(sixty_thousand, aliases):
    """(pandas is imported there and not used.)"""
    aliases("keras")
    _, printed = run(
        """
import numpy as np
from keras.utils import np_utils
np.random.seed(10)
from keras.datasets import mnist
(x_train_image,y_train_label),(x_test_image,y_test_label)=mnist.load_data()
print('train data= ',len(x_train_image))
print('test data=', len(x_test_image))
"""
    )
    assert printed == "train data=  60000\ntest data= 10000\n"


def test_004_12_part_of_a_data_set(sixty_thousand, mnist_folder):
    """A slice of a torchvision data set is an error, and says so; Subset is what is meant."""
    from nnfast import data

    trainset = data.vision.MNIST(root=str(mnist_folder), train=True, transform=data.transforms.ToTensor())
    with pytest.raises(TypeError, match=r"Subset\(dataset, range\(0, 500\)\)"):
        _ = trainset[:500]
    loader = data.DataLoader(data.Subset(trainset, range(500)), batch_size=32, shuffle=True)
    assert len(loader) == 16 and next(iter(loader))[0].shape == (32, 1, 28, 28)


def test_004_13_batches_of_an_epoch():
    """Every sample once in an epoch, in a new order in the next; a batch of one is stochastic gradient descent."""
    from nnfast import data

    rows = data.TensorDataset(np.arange(100))
    for batch_size, batches in ((32, 4), (1, 100)):
        loader = data.DataLoader(rows, batch_size=batch_size, shuffle=True)
        epochs = [np.concatenate([b[0].numpy() for b in loader]) for _ in range(2)]
        assert len(loader) == batches and (epochs[0] != epochs[1]).any()
        assert all((np.sort(e) == np.arange(100)).all() for e in epochs)


PYTORCH = """
import torch
import torchvision
import torchvision.transforms as transforms
import torch.nn as nn
import torch.optim as optim
import torch.nn.functional as F
import numpy as np

transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
trainset = torchvision.datasets.MNIST(root='./data', train=True, download=True, transform=transform)
subset_size = 500
indices = np.random.choice(len(trainset), subset_size, replace=False)
trainset_subset = torch.utils.data.Subset(trainset, indices)
batch_size = 32
trainloader_subset = torch.utils.data.DataLoader(trainset_subset, batch_size=batch_size, shuffle=True, num_workers=2)

class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.fc1 = nn.Linear(64 * 5 * 5, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = x.view(x.size(0), -1)
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return x

net = Net()
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)

history = {'train_acc': [], 'train_loss': []}
for epoch in range(num_epochs):
    net.train()
    running_loss = 0.0
    correct = 0
    total = 0
    for i, data in enumerate(trainloader_subset, 0):
        inputs, labels = data
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        _, predicted = outputs.max(1)
        total += labels.size(0)
        correct += predicted.eq(labels).sum().item()
    train_acc = 100. * correct / total
    train_loss = running_loss / len(trainloader_subset)
    history['train_acc'].append(train_acc)
    history['train_loss'].append(train_loss)
    print(f"Epoch {epoch+1}, Train Loss: {train_loss:.4f}, Train Acc: {train_acc:.4f}")
"""


def test_004_14_pytorch_script(sixty_thousand, aliases, tmp_path, monkeypatch):
    aliases("torch", "torchvision")
    monkeypatch.chdir(tmp_path)
    names, printed = run(PYTORCH, num_epochs=3)
    assert sum(p.numel() for p in names["net"].parameters()) == 225_034
    assert len(names["trainloader_subset"]) == 16 and names["total"] == 500
    lines = printed.splitlines()
    assert len(lines) == 3 and all(f"Epoch {i + 1}, Train Loss: " in line for i, line in enumerate(lines))
    losses_seen = names["history"]["train_loss"]
    assert losses_seen[0] == pytest.approx(np.log(10), abs=0.1) and losses_seen[-1] < losses_seen[0]


def test_004_16_slopes_of_activations(device):
    """sigmoid' <= 1/4, tanh' <= 1, ReLU' is 0 or 1, softmax sums to 1."""
    x = nnfast.Variable(np.linspace(-8, 8, 161))
    slopes = {}
    for f in (ops.sigmoid, ops.tanh, ops.relu):
        with nnfast.GradientTape() as tape:
            y = ops.sum(f(x))
        slopes[f] = tape.gradient(y, x).numpy()
    assert slopes[ops.sigmoid].max() == pytest.approx(0.25) and slopes[ops.sigmoid][0] < 1e-3
    assert slopes[ops.tanh].max() == pytest.approx(1) and set(slopes[ops.relu]) == {0, 1}
    assert ops.sum(ops.softmax(x)).item() == pytest.approx(1)


def test_004_17_forward_propagation_of_a_batch(device):
    """Z = A W + b: a batch is its samples one by one."""
    w1, b1, w2, b2 = parameters()
    together = forward(w1, b1, w2, b2).numpy()
    for row, expected in zip(X3, together):
        a = np.tanh(row @ w1 + b1[0])
        np.testing.assert_allclose(a @ w2 + b2[0], expected, rtol=1e-12)


def test_004_18_losses(device):
    """Means without 1/2; -log 0.2 for the example; + lambda * sum of squares as a regularizer."""
    f, y = np.array([[0.3, 0.5, 0.2]]), np.array([[0.0, 0.0, 1.0]])
    assert losses.CategoricalCrossentropy()(y, f).item() == pytest.approx(-np.log(0.2), rel=1e-12)
    assert losses.MeanSquaredError()(np.array([[2.0]]), np.array([[5.0]])).item() == 9
    p = losses.BinaryCrossentropy()(np.array([[1.0]]), np.array([[0.0]])).item()
    assert p == pytest.approx(-np.log(1e-7))  # the small number that keeps the logarithm finite


def test_004_23_gradient_descent_by_numerical_gradients():
    """All parameters of the small network by differences; it stops when the largest is small enough."""
    values = parameters()

    def numerical():
        found = []
        for p in values:
            g = np.zeros_like(p)
            for at in np.ndindex(p.shape):
                kept, ends = p[at], []
                for eps in (1e-6, -1e-6):
                    p[at] = kept + eps
                    ends.append(network_loss(*values).item())
                p[at] = kept
                g[at] = (ends[0] - ends[1]) / 2e-6
            found.append(g)
        return found

    seen = []
    for _ in range(12):
        seen.append(network_loss(*values).item())
        grads = numerical()
        if max(np.abs(g).max() for g in grads) < 1e-8:
            break
        for p, g in zip(values, grads):
            p -= 0.01 * g
    assert len(seen) == 12 and (np.diff(seen) < 0).all()


def test_004_24_cost_of_differences():
    """784 * 100 + 100 + 100 * 10 + 10 = 79,510 parameters: 2 * 79,510 forwards a gradient (notes: 2 * 70,510)."""
    model = Sequential([nnfast.Input((784,)), layers.Dense(100, "tanh"), layers.Dense(10, "softmax")])
    assert model.count_params() == 784 * 100 + 100 + 100 * 10 + 10 == 79_510
    assert 2 * model.count_params() == 159_020


def test_004_25_gradient_by_the_scores(device):
    """Reverse mode: dL/dZ = (F - Y) / m, from the fused kernel and through the ops one by one."""
    f = ops.softmax(Z).numpy()
    expected = (f - ONE_HOT) / 2
    np.testing.assert_allclose(xent_gradient(Z, Y), expected, rtol=1e-9, atol=1e-15)
    z = nnfast.Variable(Z)
    with nnfast.GradientTape() as tape:
        loss = ops.mean(-ops.sum(ops.log_softmax(z) * ONE_HOT, axis=1))
    np.testing.assert_allclose(tape.gradient(loss, z).numpy(), expected, rtol=1e-9, atol=1e-15)


def test_004_26_two_layers_vectorised(device):
    """dZ2 = (F - Y) / m, dW2 = A1' dZ2, dZ1 = dZ2 W2' * (1 - A1^2), dW1 = X' dZ1."""
    w1, b1, w2, b2 = parameters()
    a1 = np.tanh(X3 @ w1 + b1)
    dz2 = (ops.softmax(a1 @ w2 + b2).numpy() - np.eye(3)[Y3]) / 3
    dz1 = dz2 @ w2.T * (1 - a1**2)
    by_hand = [X3.T @ dz1, dz1.sum(0, keepdims=True), a1.T @ dz2, dz2.sum(0, keepdims=True)]
    variables = [nnfast.Variable(p) for p in (w1, b1, w2, b2)]
    with nnfast.GradientTape() as tape:
        loss = ops.softmax_xent(forward(*variables), Y3)
    for ours, expected in zip(tape.gradient(loss, variables), by_hand):
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9, atol=1e-16)
