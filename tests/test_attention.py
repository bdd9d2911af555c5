"""Attention and MultiHeadAttention: values, gradients, masks, memory, errors.

The kernel itself is held to reference.py in test_op_matrix.py, and to Keras in test_keras_recurrent.py.
"""

import numpy as np
import pytest
from arrays import near, x32, x64
from compare import gradcheck
from test_recurrent import filled, waves

import nnfast
from nnfast import layers, ops


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_stored_numbers_of_keras(device):
    x = waves((2, 4, 3), 1)
    layer = filled(layers.MultiHeadAttention(2, 3), (None, 4, 3), (None, 4, 3))
    want = [
        [0.290191, 0.319358, 0.198326],
        [0.270668, 0.273815, 0.148183],
        [0.288615, 0.300423, 0.170937],
        [0.290157, 0.308381, 0.181569],
    ]
    np.testing.assert_allclose(layer(x, x, use_causal_mask=True)[0], want, atol=2e-6)
    want = [
        [0.224017, 0.266491, 0.18363],
        [0.0579, 0.031428, -0.009826],
        [0.032297, 0.065004, 0.067138],
        [0.2241, 0.266272, 0.183212],
    ]
    np.testing.assert_allclose(layers.Attention()([x, x])[0], want, atol=2e-6)


def test_attention_is_its_formula(device, dtype):
    q, k, v = (x64(*s).astype(dtype) for s in ((2, 4, 3, 5), (2, 6, 3, 5), (2, 6, 3, 7)))
    p = softmax(np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(5))
    near(ops.attention(q, k, v), np.einsum("bhts,bshe->bthe", p, v).astype(dtype), scale=4)


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"mask": True}, {"dropout": 0.4}], ids=str)
def test_gradients(options):
    options = dict(options)
    if "mask" in options:
        options["mask"] = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]], bool)
    if "dropout" in options:
        options["key"] = np.array([3, 4])
    arrays = [x64(2, 4, 2, 3), x64(2, 3, 2, 3, seed=1), x64(2, 3, 2, 2, seed=2)]
    gradcheck(lambda *a: ops.attention(*a, scale=0.7, **options), *arrays)


@pytest.mark.parametrize("steps", [400, 700])  # blocks of 163 rows and 93, with products of all depths
def test_many_blocks_of_rows_and_their_gradients(steps, dtype):
    """More scores than one block holds, beside the same of single ops."""
    q, k, v = (x64(1, steps, 2, 4, seed=i).astype(dtype) for i in range(3))
    mask = np.random.default_rng(0).random((1, 1, steps, steps)) < 0.5
    mask[..., 0] = True  # every query sees a key

    def plain(q, k, v):
        scores = ops.matmul(ops.transpose(q, (0, 2, 1, 3)), ops.transpose(k, (0, 2, 3, 1))) * 0.5
        hidden = ~(mask & np.tril(np.ones((steps, steps), bool)))
        p = ops.softmax(ops.where(hidden, np.asarray(-1e9, dtype), scores))
        return ops.transpose(ops.matmul(p, ops.transpose(v, (0, 2, 1, 3))), (0, 2, 1, 3))

    results = []
    for f in (lambda *a: ops.attention(*a, mask=mask, causal=True), plain):
        variables = [nnfast.Variable(a) for a in (q, k, v)]
        with nnfast.GradientTape() as tape:
            y = f(*variables)
        results.append([y, *tape.gradient(y, variables, output_gradients=np.cos(q))])
    for a, b in zip(*results):
        near(a, b, scale=30)


def test_a_query_without_keys_gives_zeros(device):
    q = x32(1, 2, 1, 3)
    y = ops.attention(q, q, q, mask=np.array([[False, False], [True, False]]))
    assert not np.asarray(y)[0, 0].any()
    near(y[0, 1], q[0, 0])


def test_dropout(device):
    q = np.zeros((1, 1, 50, 8), "float32")
    v = np.ones((1, 400, 50, 1), "float32")
    y = np.asarray(ops.attention(q, np.zeros((1, 400, 50, 8), "float32"), v, dropout=0.5, key=np.array([1, 2])))
    assert abs(y.mean() - 1) < 0.05 and y.std() > 0.01
    again = ops.attention(q, np.zeros((1, 400, 50, 8), "float32"), v, dropout=0.5, key=np.array([1, 2]))
    np.testing.assert_array_equal(y, again)
    assert not np.asarray(ops.attention(q, q, q + 1, dropout=1.0)).any()


@pytest.mark.parametrize("options", [{}, {"use_scale": True}, {"score_mode": "concat"}], ids=str)
def test_attention_layer(options, device):
    q, v, k = x32(2, 3, 4), x32(2, 5, 6, seed=1), x32(2, 5, 4, seed=2)
    layer = layers.Attention(**options)
    y, weights = layer([q, v, k], return_attention_scores=True)
    near(layer([q, v, k]), y, scale=4)
    near(y, np.asarray(weights) @ v, scale=4)
    near(weights.sum(-1), np.ones((2, 3), "float32"))
    mask = np.array([[1, 1, 0, 0, 1], [0, 1, 1, 1, 1]], bool)
    y, weights = layer([q, v, k], mask=[np.array([[1, 0, 1]] * 2, bool), mask], return_attention_scores=True)
    assert not np.asarray(weights)[np.broadcast_to(~mask[:, None], (2, 3, 5))].any()
    assert not np.asarray(y)[:, 1].any()
    assert len(layer.weights) == len(options) and layer.compute_output_shape([(2, 3, 4), (2, 5, 6)]) == (2, 3, 6)
    assert layers.Attention.from_config(layer.get_config()).score_mode == layer.score_mode


def test_weights_as_outputs_of_a_functional_model():
    a, b = nnfast.Input((3, 4)), nnfast.Input((5, 4))
    outputs = [
        *layers.Attention()([a, b], return_attention_scores=True),
        *layers.MultiHeadAttention(2, 3)(a, b, return_attention_scores=True),
    ]
    assert [t.shape for t in outputs] == [(None, 3, 4), (None, 3, 5), (None, 3, 4), (None, 2, 3, 5)]
    found = nnfast.Model([a, b], outputs).predict([x32(2, 3, 4), x32(2, 5, 4, seed=1)], verbose=0)
    assert [v.shape for v in found] == [(2, 3, 4), (2, 3, 5), (2, 3, 4), (2, 2, 3, 5)]
    near(found[3].sum(-1), np.ones((2, 2, 3), "float32"))


def test_multi_head_attention_by_hand(device):
    x, memory = x32(2, 3, 4), x32(2, 5, 6, seed=1)
    layer = layers.MultiHeadAttention(2, 3, value_dim=5, bias_initializer="ones")
    y, weights = layer(x, memory, return_attention_scores=True)
    wq, bq, wk, bk, wv, bv, wo, bo = layer.get_weights()
    shapes = [w.shape for w in (wq, bq, wk, wv, bv, wo, bo)]
    assert shapes == [(4, 2, 3), (2, 3), (6, 2, 3), (6, 2, 5), (2, 5), (2, 5, 4), (4,)]
    q, k, v = (np.einsum("btd,dnh->btnh", a, w) + b for a, w, b in ((x, wq, bq), (memory, wk, bk), (memory, wv, bv)))
    p = softmax(np.einsum("btnh,bsnh->bnts", q, k) / np.sqrt(3))
    near(weights, p.astype("float32"), scale=4)
    near(y, np.einsum("bnts,bsnh,nhd->btd", p, v, wo).astype("float32") + bo, scale=8)
    near(layer(x, memory), y, scale=8)


def test_masks_of_multi_head_attention(device):
    x = x32(2, 4, 6)
    layer = layers.MultiHeadAttention(2, 3)
    seen = np.tril(np.ones((4, 4), bool))
    near(layer(x, x, use_causal_mask=True), layer(x, x, attention_mask=seen[None]), scale=4)
    near(layer(x, x, use_causal_mask=True)[:, :2], layer(x[:, :2], x[:, :2], use_causal_mask=True), scale=4)
    keep = np.array([[1, 1, 1, 0]] * 2, bool)
    near(layer(x, x, value_mask=keep), layer(x, x[:, :3]), scale=4)
    near(layer(x, x, key_mask=keep), layer(x, x, attention_mask=keep[:, None, :]), scale=4)
    window = layers.MultiHeadAttention(2, 3, sliding_window=1, weights=layer.get_weights())
    near(window(x, x)[:, 2:3], layer(x[:, 2:3], x[:, 2:3]), scale=4)


def test_dropout_of_the_layer_is_seeded():
    x = x32(2, 4, 6)
    layer = layers.MultiHeadAttention(2, 3, dropout=0.5, seed=3)
    again = layers.MultiHeadAttention(2, 3, dropout=0.5, seed=3)
    y = layer(x, x, training=True)
    again(x, x)
    again.set_weights(layer.get_weights())
    near(again(x, x, training=True), y)
    assert np.abs(np.asarray(y) - np.asarray(layer(x, x))).max() > 1e-3


def test_errors():
    with pytest.raises(ValueError, match=r"called with a list, \[query, value\]"):
        layers.Attention()(x32(2, 3, 4))
    with pytest.raises(ValueError, match="score_mode must be 'dot' or 'concat'"):
        layers.Attention(score_mode="add")
    with pytest.raises(TypeError, match="called with query and value"):
        layers.MultiHeadAttention(2, 3)(x32(2, 3, 4))
    with pytest.raises(ValueError, match="num_heads must be a positive integer"):
        layers.MultiHeadAttention(0, 3)
    with pytest.raises(ValueError, match=r"must be \(batch, positions, heads, features\).*For one head"):
        ops.attention(x32(2, 3, 4), x32(2, 3, 4), x32(2, 3, 4))
    with pytest.raises(ValueError, match="must have one batch and as many heads"):
        ops.attention(x32(2, 3, 1, 4), x32(2, 3, 2, 4), x32(2, 3, 2, 4))
    with pytest.raises(ValueError, match="the mask must broadcast"):
        ops.attention(x32(2, 3, 1, 4), x32(2, 3, 1, 4), x32(2, 3, 1, 4), mask=np.ones((4, 4), bool))
