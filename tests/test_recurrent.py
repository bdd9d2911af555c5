"""SimpleRNN, LSTM, GRU, Bidirectional, TimeDistributed: values, gradients, masks, states, dropout, errors.

The kernels themselves are held to reference.py in test_op_matrix.py, and to Keras in test_keras_recurrent.py.
"""

import re

import numpy as np
import pytest
from arrays import near, x32, x64
from compare import gradcheck

import nnfast
from nnfast import activations, layers, ops

NAMES = ["SimpleRNN", "LSTM", "GRU"]
MASK = np.array([[1, 1, 0, 1], [0, 1, 1, 0]], bool)


def waves(shape, shift):
    """Numbers that any language makes alike."""
    return (np.sin(np.arange(int(np.prod(shape))) * 0.7 + shift) * 0.5).reshape(shape).astype("float32")


def filled(layer, *shapes):
    layer.build(*shapes)
    layer.set_weights([waves(w.shape, i) for i, w in enumerate(layer.weights)])
    return layer


# Keras 3.15.1 on PyTorch, on waves((2, 4, 3), 1): all steps, and with MASK.
GOLDEN = [
    ("SimpleRNN", {}, [[0.805537, 0.683784], [0.63413, 0.501607]], [[0.817739, 0.663112], [0.715609, 0.599939]]),
    ("LSTM", {}, [[-0.104116, -0.048907], [-0.256388, -0.196315]], [[-0.116836, -0.093311], [-0.077471, -0.055024]]),
    ("GRU", {}, [[-0.320207, -0.313962], [-0.276452, -0.323638]], [[-0.237849, -0.272528], [-0.243001, -0.231192]]),
    (
        "GRU",
        {"reset_after": False},
        [[-0.386212, -0.265073], [-0.347929, -0.275491]],
        [[-0.308007, -0.234266], [-0.293049, -0.215073]],
    ),
]


@pytest.mark.parametrize("name, options, plain, masked", GOLDEN, ids=str)
def test_stored_numbers_of_keras(name, options, plain, masked, device):
    layer = filled(getattr(layers, name)(2, **options), (None, 4, 3))
    x = waves((2, 4, 3), 1)
    np.testing.assert_allclose(layer(x), plain, atol=2e-6)
    np.testing.assert_allclose(layer(x, mask=MASK), masked, atol=2e-6)


def test_stored_numbers_of_bidirectional(device):
    layer = filled(layers.Bidirectional(layers.LSTM(2)), (None, 4, 3))
    want = [[-0.104116, -0.048907, 0.086862, 0.158153], [-0.256388, -0.196315, 0.187065, 0.168583]]
    np.testing.assert_allclose(layer(waves((2, 4, 3), 1)), want, atol=2e-6)


def test_simple_rnn_is_its_equations(device):
    """003-20: H_t = tanh(W_h X_t + U_h H_{t-1} + b_h), Y_t = sigmoid(W_y H_t + b_y), unrolled by hand."""
    rnn = layers.SimpleRNN(4, return_sequences=True, bias_initializer="ones", dtype="float64")
    out = layers.Dense(2, "sigmoid", dtype="float64")
    x = x64(3, 6, 5)
    y = out(rnn(x))
    w, u, b = rnn.get_weights()
    w_y, b_y = out.get_weights()
    h = np.zeros((3, 4))
    for t in range(6):
        h = np.tanh(x[:, t] @ w + h @ u + b)
        near(y[:, t], 1 / (1 + np.exp(-(h @ w_y + b_y))))
    assert (w.shape, u.shape, b.shape) == ((5, 4), (4, 4), (4,)) and rnn.count_params() == 40
    near(u @ u.T, np.eye(4), scale=10)  # the recurrent kernel begins orthogonal


@pytest.mark.parametrize("factor, grows", [(0.5, False), (2.0, True)])
def test_gradients_vanish_and_explode(factor, grows):
    """003-20: through T steps the gradient is multiplied by U^T: it dies away or explodes with the size of U."""
    rnn = layers.SimpleRNN(3, activation="linear", dtype="float64")
    rnn.build((None, 20, 1))
    rnn.recurrent_kernel.assign(np.eye(3) * factor)
    x = nnfast.Tensor(x64(1, 20, 1))
    with nnfast.GradientTape() as tape:
        tape.watch(x)
        y = rnn(x).sum()
    size = np.abs(np.asarray(tape.gradient(y, x))).ravel()
    near(size[0] / size[-1], np.float64(factor**19), scale=1e6 if grows else 1)


@pytest.mark.parametrize("result", ["sequence", "last"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "f, gates, options",
    [
        (ops.simple_rnn, 1, {}),
        (ops.simple_rnn, 1, {"activation": "sigmoid", "go_backwards": True}),
        (ops.simple_rnn, 1, {"activation": ops.softplus}),
        (ops.lstm, 4, {"zero_masked": True}),
        (ops.lstm, 4, {"activation": ops.gelu}),
        (ops.gru, 3, {"go_backwards": True}),
        (ops.gru, 3, {"reset_after": False}),
        (ops.gru, 3, {"recurrent_activation": ops.hard_sigmoid, "zero_masked": True}),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", str(value)),  # the same in every process
)
def test_gradients(f, gates, options, result, masked, rng):
    u = 2
    bias = (2, 3 * u) if f is ops.gru and options.get("reset_after", True) else (gates * u,)
    states = [x64(2, u, seed=5 + i) for i in range(1 + (f is ops.lstm))]
    more = {"mask": np.array([[0, 1, 0], [1, 1, 0]], bool)} if masked else {"drop": np.array([[2.0, 0], [2, 2]])}
    arrays = [x64(2, 3, 3), x64(3, gates * u, seed=1) / 2, x64(u, gates * u, seed=2) / 2, x64(*bias, seed=3), *states]
    gradcheck(lambda *a: f(*a, result=result, **more, **options), *arrays)


def test_gradients_of_the_states(rng):
    arrays = [x64(2, 3, 3), x64(3, 8) / 2, x64(2, 8) / 2, x64(8), x64(2, 2), x64(2, 2, seed=3)]

    def every(*a):
        y, h, c = ops.lstm(*a, result="states")
        return ops.concat([ops.reshape(y, (2, 6)), h, c], 1)

    gradcheck(every, *arrays)
    arrays[1:4] = x64(3, 6) / 2, x64(2, 6) / 2, x64(2, 6)
    gradcheck(lambda *a: ops.concat(list(ops.gru(*a[:5], result="states")[1:]), 1), *arrays[:5])


@pytest.mark.parametrize("f, gates", [(ops.simple_rnn, 1), (ops.lstm, 4), (ops.gru, 3)])
def test_kernels_and_composition_agree(f, gates, device, dtype):
    """The same activation as a name, which a kernel knows, and as a function, which it does not."""
    x, w, u = (a.astype(dtype) for a in (x64(3, 4, 5), x64(5, gates * 6, seed=1), x64(6, gates * 6, seed=2) / 3))
    for options in ({}, {"mask": np.array([[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0]])}, {"go_backwards": True}):
        fused = f(x, w, u, **options, result="states")
        composed = f(x, w, u, **options, result="states", activation=lambda z: ops.tanh(z))
        for a, b in zip(fused, composed):
            near(a, b, scale=4)


@pytest.mark.parametrize("name", NAMES)
def test_results(name, device):
    x = x32(3, 5, 4)
    layer = getattr(layers, name)(6, return_sequences=True, return_state=True)
    y, *states = layer(x)
    assert y.shape == (3, 5, 6) and len(states) == 1 + (name == "LSTM")
    near(y[:, -1], states[0])
    last = getattr(layers, name)(6, weights=layer.get_weights())
    near(last(x), states[0])
    near(last(x, initial_state=None), last(x, training=True))
    back = getattr(layers, name)(6, weights=layer.get_weights(), go_backwards=True)
    near(back(x), last(x[:, ::-1]))
    first, rest = layer(x[:, :2]), None
    rest = layer(x[:, 2:], initial_state=first[1:])
    near(rest[0], y[:, 2:], scale=4)
    unrolled = getattr(layers, name)(6, weights=layer.get_weights(), unroll=True)
    near(unrolled(x), last(x))
    assert layer.compute_output_shape((None, None, 4))[0] == (None, None, 6)
    assert last.compute_output_shape((None, None, 4)) == (None, 6)


@pytest.mark.parametrize("name", NAMES)
def test_masks(name, device):
    """A masked step might as well not be there; its output is the last one, or zeros."""
    x = x32(2, 4, 3)
    layer = getattr(layers, name)(5, return_sequences=True)
    zeros = getattr(layers, name)(5, return_sequences=True, zero_output_for_mask=True)
    y = np.asarray(layer(x, mask=MASK))
    zeros.build((None, 4, 3))
    zeros.set_weights(layer.get_weights())
    z = np.asarray(zeros(x, mask=MASK.astype("int32")))
    for row in range(2):
        alone = np.asarray(layer(x[row : row + 1, MASK[row]]))[0]
        near(y[row, MASK[row]], alone)
        near(z[row, MASK[row]], alone)
        assert not z[row, ~MASK[row]].any()
    near(y[0, 2], y[0, 1])
    assert not y[1, 0].any() and np.array_equal(y[1, 3], y[1, 2])
    assert layer.compute_mask(x, MASK) is MASK and getattr(layers, name)(5).compute_mask(x, MASK) is None


@pytest.mark.parametrize("name", NAMES)
def test_empty_batches_and_no_steps(name, device):
    for shape in ((0, 4, 3), (2, 0, 3)):
        layer = getattr(layers, name)(5, return_sequences=True)
        assert layer(np.zeros(shape, "float32")).shape == (*shape[:2], 5)
        y = getattr(layers, name)(5)(np.zeros(shape, "float32"))
        assert y.shape == (shape[0], 5) and not np.asarray(y).any()


@pytest.mark.parametrize("name", NAMES)
def test_stateful(name):
    x = x32(3, 6, 4)
    whole = getattr(layers, name)(5)
    y = whole(x)
    layer = getattr(layers, name)(5, stateful=True, weights=whole.get_weights())
    with nnfast.GradientTape() as tape:
        layer(x[:, :2])
        got = layer(x[:, 2:])
    assert tape.gradient(got, layer.kernel) is not None  # the states may change before the gradient is taken
    near(got, y, scale=4)
    assert len(layer.weights) == 3 and len(layer.states) == 1 + (name == "LSTM")
    layer.reset_states()
    assert not any(s.numpy().any() for s in layer.states)
    near(layer(x), y)
    with pytest.raises(ValueError, match=r"stateful: every batch must have the size of the first, 3.*a batch of 2"):
        layer(x[:2])


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_batch_leaves_the_states_as_they_were(name):
    model = nnfast.Sequential([getattr(layers, name)(3, stateful=True), layers.Dense(2)])
    model.compile("sgd", nnfast.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = x32(4, 3, 2)
    model.train_on_batch(x, np.array([0, 1, 0, 1]))
    before = [s.numpy() for s in model.layers[0].states]
    with pytest.raises(ValueError, match="target of sample 2"):
        model.train_on_batch(x, np.array([0, 1, 5, 1]))
    for s, kept in zip(model.layers[0].states, before):
        np.testing.assert_array_equal(s.numpy(), kept)
    model.train_on_batch(x, np.array([0, 1, 0, 1]))
    assert all((s.numpy() != kept).any() for s, kept in zip(model.layers[0].states, before))


def test_dropout_is_the_same_at_every_step():
    x = np.ones((64, 5, 8), "float32")
    layer = layers.SimpleRNN(4, "linear", dropout=0.5, recurrent_initializer="zeros", return_sequences=True, seed=1)
    y = np.asarray(layer(x, training=True))
    near(y[:, 0], y[:, 4])
    assert len(np.unique(y[:, 0, 0])) > 5
    near(layer(x)[:, 0], np.broadcast_to(layer.kernel.numpy().sum(0), (64, 4)), scale=4)
    state = np.ones((4000, 4), "float32")
    layer = layers.SimpleRNN(4, "linear", recurrent_dropout=0.25, recurrent_initializer="identity", seed=1)
    y = np.asarray(layer(np.zeros((4000, 1, 1), "float32"), initial_state=state, training=True))
    assert set(np.unique(y.round(4))) <= {0, np.float32(1.3333)} and abs(y.mean() - 1) < 0.03


def test_weights_begin_as_keras_says():
    layer = layers.LSTM(3)
    layer.build((None, None, 2))
    assert layer.bias.numpy().tolist() == [0.0] * 3 + [1.0] * 3 + [0.0] * 6
    assert [w.path.split("/", 1)[1] for w in layer.weights] == [
        "lstm_cell/kernel", "lstm_cell/recurrent_kernel", "lstm_cell/bias"
    ]  # fmt: skip
    closed = layers.LSTM(3, unit_forget_bias=False)
    closed.build((None, 4, 2))
    assert not closed.bias.numpy().any()
    gru = layers.GRU(3)
    gru.build((None, 4, 2))
    assert gru.bias.shape == (2, 9)
    near(gru.recurrent_kernel.numpy() @ gru.recurrent_kernel.numpy().T, np.eye(3, dtype="float32"))
    assert layers.LSTM(64).activation is activations.tanh


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
def test_bidirectional(mode, device):
    x = x32(2, 4, 3)
    layer = layers.Bidirectional(layers.GRU(5, return_sequences=True), merge_mode=mode)
    got = layer(x)
    y, z = layer.forward_layer(x), layer.backward_layer(x)[:, ::-1]
    want = {"concat": lambda: ops.concat([y, z], -1), "sum": lambda: y + z, "mul": lambda: y * z}
    want |= {"ave": lambda: (y + z) / 2, None: lambda: (y, z)}
    for a, b in zip(*(v if mode is None else (v,) for v in (got, want[mode]()))):
        near(a, b)
    again = layers.Bidirectional.from_config(layer.get_config())
    assert again.merge_mode == mode and again.backward_layer.go_backwards and not again.forward_layer.go_backwards
    again.build((None, 4, 3))
    again.set_weights(layer.get_weights())
    for a, b in zip(*(v if mode is None else (v,) for v in (again(x), got))):
        near(a, b)


def test_bidirectional_refuses():
    with pytest.raises(ValueError, match="a recurrent layer is expected"):
        layers.Bidirectional(layers.Dense(3))
    with pytest.raises(ValueError, match="merge_mode must be"):
        layers.Bidirectional(layers.GRU(3), merge_mode="add")
    with pytest.raises(ValueError, match="opposite directions"):
        layers.Bidirectional(layers.GRU(3), backward_layer=layers.GRU(3))
    with pytest.raises(ValueError, match="both layers must have the same return_sequences"):
        layers.Bidirectional(layers.GRU(3), backward_layer=layers.GRU(3, go_backwards=True, return_sequences=True))


def test_time_distributed(device):
    x = x32(2, 4, 3)
    layer = layers.TimeDistributed(layers.Dense(5, "relu"))
    y = layer(x)
    for t in range(4):
        near(y[:, t], layer.layer(x[:, t]))
    again = layers.TimeDistributed.from_config(layer.get_config())
    assert again.layer.units == 5 and again.compute_output_shape((None, 7, 3)) == (None, 7, 5)
    with pytest.raises(ValueError, match="three dimensions or more"):
        layers.TimeDistributed(layers.Dense(5))(x32(2, 3))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "shape, message",
    [
        ((2, 3), r"expects \(batch, time, features\). Received: input shape \(None, 3\). One feature per step"),
        ((2, 3, 4, 5), r"expects \(batch, time, features\).*TimeDistributed\(Flatten"),
    ],
)
def test_wrong_rank(name, shape, message):
    with pytest.raises(ValueError, match=rf"{name} {message}"):
        getattr(layers, name)(4)(x32(*shape))


def test_errors():
    layer = layers.LSTM(4)
    layer(x32(2, 3, 5))
    with pytest.raises(ValueError, match=r"was built for 5 features, \(batch, time, 5\). Received: .*\(2, 3, 6\)"):
        layer(x32(2, 3, 6))
    with pytest.raises(ValueError, match=r"LSTM has 2 state\(s\). Received: initial_state of 1"):
        layer(x32(2, 3, 5), initial_state=[x32(2, 4)])
    with pytest.raises(ValueError, match=r"must be \(batch, units\), \(2, 4\). Received: .*\(2, 5\)"):
        layer(x32(2, 3, 5), initial_state=[x32(2, 4), x32(2, 5)])
    with pytest.raises(ValueError, match=r"needs a mask of shape \(2, 3\)"):
        layer(x32(2, 3, 5), mask=np.ones((2, 4), bool))
    with pytest.raises(ValueError, match="units must be a positive integer"):
        layers.GRU(0)
    with pytest.raises(ValueError, match="dropout must be a number from 0 to 1"):
        layers.GRU(3, dropout=1.5)
    with pytest.raises(ValueError, match="use_cudnn must be"):
        layers.GRU(3, use_cudnn="yes")
    with pytest.raises(ValueError, match="activation must be a function, or one of"):
        ops.lstm(x32(1, 2, 3), x32(3, 8), x32(2, 8), activation="gelu")
    with pytest.raises(ValueError, match=r"w must be \(features, 4 \* units\)"):
        ops.lstm(x32(1, 2, 3), x32(3, 4), x32(2, 8))
    with pytest.raises(ValueError, match=r"with reset_after, bias must be \(2, 3 \* units\)"):
        ops.gru(x32(1, 2, 3), x32(3, 6), x32(2, 6), x32(6))


@pytest.mark.parametrize("name", NAMES)
def test_learns_to_remember(name):
    """The first element decides the class; the others are noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 8, 1)).astype("float32") * 0.3
    y = rng.integers(0, 2, 256)
    x[:, 0, 0] = y * 2 - 1
    nnfast.utils.set_random_seed(1)
    model = nnfast.Sequential([getattr(layers, name)(12), layers.Dense(2, "softmax")])
    model.compile(nnfast.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=8, verbose=0)
    assert history.history["accuracy"][-1] > 0.95


def test_masks_travel_through_models():
    """Padded words change nothing, whatever stands between the Embedding and the end."""
    words, longer = np.array([[3, 5], [2, 1]]), np.array([[3, 5, 0, 0], [2, 1, 0, 0]])
    model = nnfast.Sequential(
        [
            layers.Embedding(9, 4, mask_zero=True),
            layers.Bidirectional(layers.GRU(3, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(4)),
            layers.LSTM(5),
        ]
    )
    near(model.predict(longer, verbose=0), model.predict(words, verbose=0))
    x = x32(2, 5, 3)
    x[:, 3:] = 0
    masked = nnfast.Sequential([layers.Masking(), layers.SimpleRNN(4)])
    near(masked(x), masked(x[:, :3]))


def test_encoder_and_decoder():
    """States of one LSTM begin another; attention looks back at the words, not at their padding."""
    source, target = nnfast.Input((None,), dtype="int32"), nnfast.Input((None, 3))
    states = layers.LSTM(6, return_sequences=True, return_state=True)
    y, h, c = states(layers.Embedding(9, 4, mask_zero=True)(source))
    z = layers.LSTM(6, return_sequences=True)(target, initial_state=[h, c])
    both = layers.Concatenate()([layers.MultiHeadAttention(2, 3)(z, y), layers.Attention()([z, y])])
    model = nnfast.Model([source, target], layers.Dense(2)(both))
    assert model.output_shape == (None, None, 2)
    steps = x32(2, 5, 3)
    got = model.predict([np.array([[3, 5, 0, 0], [2, 1, 0, 0]]), steps], verbose=0)
    near(got, model.predict([np.array([[3, 5], [2, 1]]), steps], verbose=0), scale=4)
    model.compile("adam", "mse")
    before = model.get_weights()
    model.fit([np.array([[3, 5], [2, 1]]), steps], np.zeros((2, 5, 2)), epochs=1, verbose=0)
    assert all(np.any(a != b) for a, b in zip(before, model.get_weights()) if a.size > 12)


@pytest.mark.parametrize("ending", [".keras", ".h5", ".weights.h5", ".safetensors"])
def test_files(ending, tmp_path):
    def make():
        x = nnfast.Input((4, 6))
        y = layers.MultiHeadAttention(2, 3)(x, x)
        y = layers.TimeDistributed(layers.Dense(3))(layers.Bidirectional(layers.LSTM(5, return_sequences=True))(y))
        return nnfast.Model(x, layers.GRU(2, reset_after=False)(y))

    x, path = x32(2, 4, 6), tmp_path / f"model{ending}"
    model = make()
    y = model.predict(x, verbose=0)
    if ending == ".weights.h5":
        model.save_weights(path)
        again = make()
        again.load_weights(path)
    else:
        model.save(path)
        again = nnfast.models.load_model(path)
    np.testing.assert_array_equal(again.predict(x, verbose=0), y)
