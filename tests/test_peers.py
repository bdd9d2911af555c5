"""nnfast beside PyTorch: ops, gradients, optimizer rules where they coincide, and training from equal weights.

Optional: `pytest -m peers`, where torch is installed.
"""

import numpy as np
import pytest
from compare import assert_close

import nnfast
from nnfast import datasets, layers, ops, optimizers

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch")
F = torch.nn.functional

UNARY = {
    "neg": torch.neg,
    "abs": torch.abs,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": lambda x: torch.log(x.abs() + 0.1),
    "log1p": lambda x: torch.log1p(x.abs()),
    "sqrt": lambda x: torch.sqrt(x.abs() + 0.1),
    "rsqrt": lambda x: torch.rsqrt(x.abs() + 0.1),
    "square": torch.square,
    "reciprocal": lambda x: torch.reciprocal(x.abs() + 0.1),
    "sign": torch.sign,
    "erf": torch.erf,
    "relu": torch.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    "elu": F.elu,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "silu": F.silu,
    "gelu": F.gelu,
    "softsign": F.softsign,
    "hard_sigmoid": lambda x: torch.clamp(x / 6 + 0.5, 0, 1),  # its own rounds 1/6 to float32
    "clip": lambda x: torch.clamp(x, -1, 1),
}
OURS = {
    "log": lambda x: ops.log(ops.abs(x) + 0.1),
    "log1p": lambda x: ops.log1p(ops.abs(x)),
    "sqrt": lambda x: ops.sqrt(ops.abs(x) + 0.1),
    "rsqrt": lambda x: ops.rsqrt(ops.abs(x) + 0.1),
    "reciprocal": lambda x: ops.reciprocal(ops.abs(x) + 0.1),
    "leaky_relu": lambda x: ops.leaky_relu(x, 0.3),
    "gelu": lambda x: ops.gelu(x, approximate=False),
    "clip": lambda x: ops.clip(x, -1, 1),
}


def agree(ours, theirs, *arrays, scale=1.0):
    """The values, and the gradients of a weighted sum, of the same function on both sides."""
    mine = [nnfast.Variable(a) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    with nnfast.GradientTape() as tape:
        y = ours(*mine)
    z = theirs(*other)
    size = lambda a: max(1.0, float(np.abs(a).max(initial=0)))  # noqa: E731
    expected = z.detach().numpy()
    assert_close(y.numpy() / size(expected), expected / size(expected), scale=scale)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, y.shape).astype(y.dtype)
    z.backward(torch.tensor(weights))
    for g, t in zip(tape.gradient(y, mine, output_gradients=weights), other):
        d = t.grad.numpy()
        assert_close(g.numpy() / size(d), d / size(d), scale=4 * scale)


@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype, rng):
    agree(OURS.get(name) or getattr(ops, name), UNARY[name], rng.uniform(-4, 4, (7, 33)).astype(dtype), scale=2)


def test_gelu_by_tanh(dtype, rng):
    x = rng.uniform(-4, 4, (7, 33)).astype(dtype)
    agree(lambda v: ops.gelu(v, approximate=True), lambda v: F.gelu(v, approximate="tanh"), x, scale=2)


@pytest.mark.parametrize("shapes", [((5, 17), (5, 17)), ((5, 17), (17,)), ((5, 1), (5, 17)), ((2, 1, 3), (4, 1))])
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow", "maximum", "minimum"])
def test_binary(name, shapes, dtype, rng):
    a, b = (rng.uniform(0.3, 2, s).astype(dtype) for s in shapes)
    agree(getattr(ops, name), getattr(torch, name), a, b, scale=4)


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "var", "logsumexp"])
def test_reductions(name, axis, dtype, rng):
    x = rng.standard_normal((4, 9, 5)).astype(dtype)
    every = (0, 1, 2) if axis is None else axis
    more = {"correction": 0} if name == "var" else {}
    ours = getattr(ops, {"amax": "max", "amin": "min"}.get(name, name))
    agree(lambda v: ours(v, axis=axis), lambda v: getattr(torch, name)(v, dim=every, **more), x, scale=4)


@pytest.mark.parametrize(
    "shapes", [((5, 7), (7, 3)), ((2, 5, 7), (2, 7, 3)), ((4, 5, 7), (7, 3)), ((7,), (7, 3))], ids=str
)
def test_matmul(shapes, dtype, rng):
    agree(ops.matmul, torch.matmul, *(rng.standard_normal(s).astype(dtype) for s in shapes), scale=2)


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "sigmoid"])
def test_dense(activation, dtype, rng):
    x, w, b = (rng.standard_normal(s).astype(dtype) for s in ((9, 20), (20, 33), (33,)))
    f = (lambda z: z) if activation == "linear" else getattr(torch, activation)
    agree(lambda x, w, b: ops.dense(x, w, b, activation), lambda x, w, b: f(F.linear(x, w.T, b)), x, w, b, scale=4)


CONVOLUTIONS = [
    {},
    {"strides": (2, 1)},
    {"padding": 1},
    {"padding": 2, "dilation": (2, 3)},
    {"groups": 2, "padding": 1},
    {"groups": 4, "strides": 2},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_conv2d(options, dtype, rng):
    groups = options.get("groups", 1)
    x, w = rng.standard_normal((2, 10, 9, 4)).astype(dtype), rng.standard_normal((3, 3, 4 // groups, 8)).astype(dtype)
    b = rng.standard_normal(8).astype(dtype)
    theirs = {"stride" if k == "strides" else k: v for k, v in options.items()}

    def other(x, w, b):
        return F.conv2d(x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), b, **theirs).permute(0, 2, 3, 1)

    agree(lambda x, w, b: ops.conv2d(x, w, b, **options), other, x, w, b, scale=4)


@pytest.mark.parametrize(
    "options", [{}, {"strides": 1}, {"padding": 1, "strides": 2}, {"ceil_mode": True, "strides": 2}], ids=str
)
def test_pooling(options, dtype, rng):
    x = rng.standard_normal((2, 9, 10, 3)).astype(dtype)
    theirs = {"stride" if k == "strides" else k: v for k, v in options.items()}

    def other(f, **more):
        return lambda v: f(v.permute(0, 3, 1, 2), 3, **theirs, **more).permute(0, 2, 3, 1)

    agree(lambda v: ops.max_pool2d(v, 3, **options), other(F.max_pool2d), x)
    for counts in (False, True):
        ours = lambda v, counts=counts: ops.avg_pool2d(v, 3, count_include_pad=counts, **options)  # noqa: E731
        agree(ours, other(F.avg_pool2d, count_include_pad=counts), x)


@pytest.mark.parametrize("axis", [-1, 0])
def test_softmax(axis, dtype, rng):
    x = rng.uniform(-8, 8, (7, 13)).astype(dtype)
    agree(lambda v: ops.softmax(v, axis=axis), lambda v: torch.softmax(v, axis), x, scale=2)
    agree(lambda v: ops.log_softmax(v, axis=axis), lambda v: torch.log_softmax(v, axis), x, scale=2)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(reduction, smoothing, dtype, rng):
    logits, labels = rng.uniform(-8, 8, (9, 5)).astype(dtype), rng.integers(0, 5, 9)
    agree(
        lambda v: ops.softmax_xent(v, labels, reduction=reduction, label_smoothing=smoothing),
        lambda v: F.cross_entropy(v, torch.tensor(labels), reduction=reduction, label_smoothing=smoothing),
        logits,
        scale=4,
    )
    soft = rng.uniform(0.1, 1, (9, 5))
    soft = (soft / soft.sum(1, keepdims=True)).astype(dtype)
    agree(
        lambda v: ops.softmax_xent(v, soft, reduction=reduction, label_smoothing=smoothing),
        lambda v: F.cross_entropy(v, torch.tensor(soft), reduction=reduction, label_smoothing=smoothing),
        logits,
        scale=4,
    )


def test_cross_entropy_that_ignores_a_class(dtype, rng):
    logits, labels = rng.uniform(-8, 8, (9, 5)).astype(dtype), rng.integers(0, 5, 9)
    agree(
        lambda v: ops.softmax_xent(v, labels, ignore_class=2),
        lambda v: F.cross_entropy(v, torch.tensor(labels), ignore_index=2),
        logits,
        scale=4,
    )


# Where the rules of Keras and PyTorch coincide: Keras puts epsilon elsewhere, and without epsilon they agree.
RULES = {
    "sgd": (lambda: optimizers.SGD(0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "momentum": (lambda: optimizers.SGD(0.1, momentum=0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    "nesterov": (
        lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    ),
    "rmsprop": (
        lambda: optimizers.RMSprop(0.01, epsilon=1e-30),
        lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, eps=0),
    ),
    "centered": (
        lambda: optimizers.RMSprop(0.01, epsilon=1e-30, centered=True),
        lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, eps=0, centered=True),
    ),
    "adam": (lambda: optimizers.Adam(0.01, epsilon=1e-30), lambda p: torch.optim.Adam(p, 0.01, eps=0)),
    "amsgrad": (
        lambda: optimizers.Adam(0.01, epsilon=1e-30, amsgrad=True),
        lambda p: torch.optim.Adam(p, 0.01, eps=0, amsgrad=True),
    ),
    "decay": (
        lambda: optimizers.Adam(0.01, epsilon=1e-30, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.01, eps=0, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("rule", [r for r in RULES if r != "amsgrad"])
def test_optimizers(rule, rng):
    start = rng.standard_normal((5, 7))
    mine, other = nnfast.Variable(start), torch.tensor(start, requires_grad=True)
    ours, theirs = RULES[rule][0](), RULES[rule][1]([other])
    for _ in range(12):
        g = rng.standard_normal((5, 7)) + 0.5
        ours.apply([nnfast.tensor(g)], [mine])
        other.grad = torch.tensor(g)
        theirs.step()
        np.testing.assert_allclose(mine.numpy(), other.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_amsgrad_keeps_the_largest(rng):
    """PyTorch keeps the largest corrected v, Keras the largest v: they agree while v grows fast."""
    mine, other = nnfast.Variable(np.ones(4)), torch.ones(4, dtype=torch.float64, requires_grad=True)
    ours, theirs = RULES["amsgrad"][0](), RULES["amsgrad"][1]([other])
    for step in range(6):
        g = np.full(4, 2.0**step)
        ours.apply([nnfast.tensor(g)], [mine])
        other.grad = torch.tensor(g)
        theirs.step()
    np.testing.assert_allclose(mine.numpy(), other.detach().numpy(), rtol=1e-9)


def digits(rows):
    (x, y), _ = datasets.digits.load_data()
    return (x[:rows] / 255).astype("float32"), y[:rows].astype("int64")


def train_both(model, net, to_theirs, x, y, mine, theirs, batch, rtol):
    """The same steps from the same weights: the losses must stay together."""
    model.compile(mine, "sparse_categorical_crossentropy")
    step = theirs(net.parameters())
    for start in range(0, len(x), batch):
        rows = slice(start, start + batch)
        model.reset_metrics()
        ours = model.train_on_batch(x[rows], y[rows])
        step.zero_grad()
        loss = F.cross_entropy(net(to_theirs(x[rows])), torch.tensor(y[rows]))
        loss.backward()
        step.step()
        assert ours == pytest.approx(loss.item(), rel=rtol), f"step {start // batch}"


def test_training_an_mlp():
    nnfast.utils.set_random_seed(3)
    x, y = digits(640)
    x = x.reshape(-1, 784)
    model = nnfast.Sequential([nnfast.Input(shape=(784,)), layers.Dense(64, "relu"), layers.Dense(10, "softmax")])
    net = torch.nn.Sequential(torch.nn.Linear(784, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    with torch.no_grad():
        for p, w in zip(net.parameters(), model.get_weights()):
            p.copy_(torch.tensor(w.T))
    sgd = (optimizers.SGD(0.1, momentum=0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9))
    train_both(model, net, torch.tensor, x, y, *sgd, batch=64, rtol=1e-4)


def test_training_a_cnn():
    nnfast.utils.set_random_seed(3)
    x, y = digits(320)
    x = x[..., None]
    model = nnfast.Sequential(
        [
            nnfast.Input(shape=(28, 28, 1)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 3, activation="relu"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(10, "softmax"),
        ]
    )

    class Last(torch.nn.Module):
        """Channels last, so that the flat order is ours."""

        def forward(self, v):
            return v.permute(0, 2, 3, 1).flatten(1)

    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 16, 3),
        torch.nn.ReLU(),
        torch.nn.AvgPool2d(2),
        Last(),
        torch.nn.Linear(6 * 6 * 16, 10),
    )
    with torch.no_grad():
        for p, w in zip(net.parameters(), model.get_weights()):
            p.copy_(torch.tensor(w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T))
    adam = (optimizers.Adam(1e-3, epsilon=1e-8), lambda p: torch.optim.Adam(p, 1e-3, eps=1e-8))
    train_both(model, net, lambda v: torch.tensor(v.transpose(0, 3, 1, 2)), x, y, *adam, batch=32, rtol=1e-3)
