"""Recurrent layers, Embedding, Masking and attention beside Keras: outputs, gradients, configs. `pytest -m peers`."""

import os

import numpy as np
import pytest

import nnfast

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

MASK = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
RECURRENT = [
    (name, options)
    for name in ("SimpleRNN", "LSTM", "GRU")
    for options in (
        {},
        {"return_sequences": True, "go_backwards": True},
        {"return_state": True, "return_sequences": True},
        {"return_state": True, "use_bias": False, "activation": "relu"},
        {"return_sequences": True, "activation": "softsign"},
        {"return_sequences": True, "zero_output_for_mask": True, "activation": "linear"},
        {"unroll": True},
    )
]
RECURRENT += [
    ("GRU", {"reset_after": False, "return_sequences": True}),
    ("GRU", {"reset_after": False, "activation": "gelu", "recurrent_activation": "hard_sigmoid"}),
    ("GRU", {"activation": "gelu", "return_state": True}),
    ("LSTM", {"unit_forget_bias": False, "recurrent_activation": "hard_sigmoid"}),
    ("LSTM", {"recurrent_activation": "tanh", "activation": "sigmoid"}),
]


def flat(y):
    return list(y) if isinstance(y, (list, tuple)) else [y]


def compare(mine, theirs, x, call_options, rng, rtol=2e-5, atol=2e-6):
    """Outputs, and the gradients of all weights and of the input."""
    xs = x if isinstance(x, list) else [x]
    mine_in = [nnfast.Tensor(a) if a.dtype.kind == "f" else a for a in xs]
    theirs_in = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in xs]
    of = lambda inputs: inputs if isinstance(x, list) else inputs[0]  # noqa: E731

    def convert(value, make):
        if isinstance(value, list):
            return [convert(v, make) for v in value]
        return make(value) if isinstance(value, np.ndarray) else value

    star = call_options.pop("star", False)
    k_args = tuple(theirs_in) if star else (of(theirs_in),)
    want = flat(theirs(*k_args, **{k: convert(v, torch.tensor) for k, v in call_options.items()}))
    if not mine.weights:
        mine(*(mine_in if star else (of(mine_in),)), **call_options)
    mine.set_weights(theirs.get_weights())
    assert [v.name for v in mine.weights] == [v.name for v in theirs.weights]
    watched = [t for t in mine_in if isinstance(t, nnfast.Tensor)]
    with nnfast.GradientTape() as tape:
        tape.watch(watched)
        got = flat(mine(*(mine_in if star else (of(mine_in),)), **call_options))
    assert len(got) == len(want)
    seeds = [rng.standard_normal(tuple(w.shape)).astype("float32") for w in want]
    for g, w in zip(got, want):
        np.testing.assert_allclose(np.asarray(g), w.detach().numpy(), rtol=rtol, atol=atol)
    grads = tape.gradient(got, [*mine.trainable_weights, *watched], output_gradients=seeds)
    sum((w * torch.tensor(s)).sum() for w, s in zip(want, seeds)).backward()
    theirs_grads = [v.value.grad for v in theirs.trainable_weights] + [t.grad for t in theirs_in if t.requires_grad]
    for g, w in zip(grads, theirs_grads):
        w = np.zeros(g.shape, "float32") if w is None else w.numpy()
        np.testing.assert_allclose(np.asarray(g), w, rtol=50 * rtol, atol=20 * atol)


def same_config(mine, theirs):
    skip = {"name", "dtype", "layer", "backward_layer", "batch_input_shape", "attention_axes"}
    a, b = mine.get_config(), theirs.get_config()
    # None in the one and left out in the other; Keras forgets the seed of SimpleRNN
    absent = {"activity_regularizer", "quantization_config", "batch_input_shape", "seed"}
    assert set(a) - absent == set(b) - absent
    for key in set(b) - skip - absent:
        x, y = a[key], b[key]
        if isinstance(x, dict) and isinstance(y, dict):
            x, y = x.get("class_name"), y.get("class_name")
        assert (x or None) == (y or None) or list(x) == list(y), key


@pytest.mark.parametrize("masked", [False, True], ids=["all steps", "masked"])
@pytest.mark.parametrize("name, options", RECURRENT, ids=str)
def test_recurrent(name, options, masked, rng):
    theirs = getattr(keras.layers, name)(6, bias_initializer="random_normal", **options)
    mine = getattr(nnfast.layers, name)(6, **options)
    x = rng.standard_normal((4, 5, 3)).astype("float32")
    call = {"initial_state": [rng.standard_normal((4, 6)).astype("float32") for _ in range(1 + (name == "LSTM"))]}
    if masked:
        call["mask"] = MASK
    compare(mine, theirs, x, call, rng)
    again = getattr(nnfast.layers, name).from_config(theirs.get_config())
    same_config(again, theirs)
    shape = theirs.compute_output_shape((4, 5, 3))
    assert mine.compute_output_shape((4, 5, 3)) == shape


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("state", [False, True])
def test_bidirectional(mode, sequences, state, rng):
    inner = {"return_sequences": sequences, "return_state": state}
    theirs = keras.layers.Bidirectional(keras.layers.GRU(4, **inner), merge_mode=mode)
    mine = nnfast.layers.Bidirectional(nnfast.layers.GRU(4, **inner), merge_mode=mode)
    x = rng.standard_normal((4, 5, 3)).astype("float32")
    compare(mine, theirs, x, {"mask": MASK}, rng)
    again = nnfast.layers.Bidirectional.from_config(theirs.get_config())
    assert again.get_config()["layer"]["config"]["units"] == 4 and again.backward_layer.go_backwards
    same_config(again, theirs)
    assert flat(mine.compute_output_shape((4, 5, 3))) == flat(theirs.compute_output_shape((4, 5, 3)))


def test_time_distributed(rng):
    theirs = keras.layers.TimeDistributed(keras.layers.Conv2D(3, 2))
    mine = nnfast.layers.TimeDistributed(nnfast.layers.Conv2D(3, 2))
    compare(mine, theirs, rng.standard_normal((2, 5, 6, 6, 2)).astype("float32"), {}, rng)
    again = nnfast.layers.TimeDistributed.from_config(theirs.get_config())
    same_config(again, theirs)
    assert mine.compute_output_shape((None, 5, 6, 6, 2)) == theirs.compute_output_shape((None, 5, 6, 6, 2))


def test_embedding_and_masking(rng):
    theirs, mine = keras.layers.Embedding(9, 4, mask_zero=True), nnfast.layers.Embedding(9, 4, mask_zero=True)
    x = rng.integers(0, 9, (4, 5))
    compare(mine, theirs, x, {}, rng)
    same_config(nnfast.layers.Embedding.from_config(theirs.get_config()), theirs)
    np.testing.assert_array_equal(mine.compute_mask(x), theirs.compute_mask(torch.tensor(x)).numpy())
    theirs, mine = keras.layers.Masking(1.0), nnfast.layers.Masking(1.0)
    x = rng.integers(0, 2, (4, 5, 2)).astype("float32")
    compare(mine, theirs, x, {}, rng)
    np.testing.assert_array_equal(mine.compute_mask(x), theirs.compute_mask(torch.tensor(x)).numpy())
    same_config(nnfast.layers.Masking.from_config(theirs.get_config()), theirs)


@pytest.mark.parametrize("options", [{}, {"use_scale": True}, {"score_mode": "concat", "use_scale": True}], ids=str)
@pytest.mark.parametrize(
    "call", [{}, {"use_causal_mask": True}, {"return_attention_scores": True}, {"mask": True}], ids=str
)
def test_attention(options, call, rng):
    theirs, mine = keras.layers.Attention(**options), nnfast.layers.Attention(**options)
    q, v, k = (rng.standard_normal(s).astype("float32") for s in ((3, 4, 6), (3, 5, 7), (3, 5, 6)))
    call = dict(call)
    if "mask" in call:
        mask = rng.random((3, 5)) < 0.6
        mask[:, 1] = True
        call["mask"] = [rng.random((3, 4)) < 0.6, mask]
    compare(mine, theirs, [q, v, k], call, rng)
    same_config(nnfast.layers.Attention.from_config(theirs.get_config()), theirs)


MHA = [
    {},
    {"value_dim": 5, "output_shape": 9},
    {"use_bias": False, "output_shape": (2, 3)},
    {"sliding_window": 2},
    {"use_gate": True},
]


@pytest.mark.parametrize("options", MHA, ids=str)
@pytest.mark.parametrize(
    "call", [{}, {"use_causal_mask": True}, {"return_attention_scores": True}, {"mask": 1}], ids=str
)
def test_multi_head_attention(options, call, rng):
    theirs, mine = keras.layers.MultiHeadAttention(3, 4, **options), nnfast.layers.MultiHeadAttention(3, 4, **options)
    q, v, k = (rng.standard_normal(s).astype("float32") for s in ((2, 5, 6), (2, 5, 7), (2, 5, 8)))
    call = {**call, "star": True}
    if call.pop("mask", None):
        mask = rng.random((2, 5, 5)) < 0.7
        mask[:, range(5), range(5)] = True
        call.update(attention_mask=mask, value_mask=np.ones((2, 5), bool))
    compare(mine, theirs, [q, v, k], call, rng)
    assert [v.path.split("/", 1)[-1] for v in theirs.weights] == [v.path for v in mine.weights]
    same_config(nnfast.layers.MultiHeadAttention.from_config(theirs.get_config()), theirs)
    assert mine.compute_output_shape(q.shape, v.shape, k.shape) == theirs.compute_output_shape(
        q.shape, v.shape, k.shape
    )


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2), None], ids=str)
@pytest.mark.parametrize("scores", [False, True])
def test_attention_axes(axes, scores, rng):
    theirs, mine = (m.layers.MultiHeadAttention(2, 3, attention_axes=axes) for m in (keras, nnfast))
    x = rng.standard_normal((2, 4, 5, 6)).astype("float32")
    compare(mine, theirs, [x, x], {"star": True, "return_attention_scores": scores}, rng)


def test_initial_values_have_the_distribution_of_keras():
    for name in ("SimpleRNN", "LSTM", "GRU"):
        theirs, mine = getattr(keras.layers, name)(40), getattr(nnfast.layers, name)(40)
        theirs.build((None, 5, 30)), mine.build((None, 5, 30))
        for a, b in zip(mine.get_weights(), theirs.get_weights()):
            assert a.shape == b.shape
            np.testing.assert_allclose([a.mean(), a.std()], [b.mean(), b.std()], atol=0.02)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("first, second", [(keras, nnfast), (nnfast, keras)], ids=["from Keras", "to Keras"])
def test_files(first, second, ending, tmp_path, rng):
    """A model that one of them saved opens in the other, with the same predictions."""
    k = first.layers
    words, vectors = first.Input((5,), dtype="int32"), first.Input((4, 6))
    y = k.Bidirectional(k.LSTM(3, return_sequences=True, dropout=0.1))(k.Embedding(9, 6, mask_zero=True)(words))
    y = k.GRU(4, reset_after=False)(k.TimeDistributed(k.Dense(5))(y))
    z = k.SimpleRNN(4)(
        k.Attention(use_scale=True)([k.MultiHeadAttention(2, 3)(vectors, vectors), k.Masking()(vectors)])
    )
    model = first.Model([words, vectors], k.Concatenate()([y, z]))
    x = [rng.integers(0, 9, (3, 5)).astype("int32"), rng.standard_normal((3, 4, 6)).astype("float32")]
    want = model.predict(x, verbose=0)
    path = str(tmp_path / f"model{ending}")
    model.save(path)
    again = second.models.load_model(path)
    np.testing.assert_allclose(again.predict(x, verbose=0), want, atol=2e-6)
