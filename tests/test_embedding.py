"""Embedding and Masking."""

import numpy as np
import pytest
from arrays import near, x32, x64
from compare import gradcheck

import nnfast
from nnfast import layers, ops


def test_embedding_takes_rows(device):
    layer = layers.Embedding(10, 4)
    words = np.array([[1, 9, 1], [0, 3, 3]])
    y = layer(words)
    near(y, layer.embeddings.numpy()[words])
    near(layer(words.astype("float32")), y)
    assert layer.compute_output_shape((None, 3)) == (None, 3, 4) and np.abs(layer.embeddings.numpy()).max() <= 0.05
    with nnfast.GradientTape() as tape:
        y = layer(words)
    want = np.zeros((10, 4), "float32")
    weights = x32(2, 3, 4)
    np.add.at(want, words, weights)
    near(tape.gradient(y, layer.embeddings, output_gradients=weights), want)


def test_embedding_gradient():
    gradcheck(lambda table: ops.take_rows(table, np.array([[0, 2], [2, 1]])), x64(3, 2))


def test_embedding_arguments():
    table = x32(5, 2)
    near(layers.Embedding(5, 2, weights=[table])(np.array([3])), table[3:4])
    near(layers.Embedding(5, 2, weights=table)(np.array([3])), table[3:4])
    layer = layers.Embedding(5, 2, embeddings_initializer="ones", embeddings_regularizer="l2", name="words")
    layer(np.array([[1]]))
    assert len(layer.losses) == 1 and layer.embeddings.path == "words/embeddings"
    assert "weights" not in layer.get_config() and layers.Embedding.from_config(layer.get_config()).input_dim == 5
    with pytest.warns(UserWarning, match="input_length has no effect"):
        layers.Embedding(5, 2, input_length=3)
    with pytest.raises(ValueError, match="input_dim must be a positive integer"):
        layers.Embedding(0, 2)


@pytest.mark.parametrize("bad, fix", [(10, "Give input_dim=11 or more"), (-1, "Negative numbers have no vector")])
def test_a_number_without_a_row(bad, fix, device):
    words = np.array([[1, 2, 3], [4, 5, bad]])
    message = rf"numbers from 0 to 9. Received: {bad} in sample 1, position 2. {fix}"
    if device == "cuda":  # found by the kernel, when values are read
        message = rf"index {bad} at position 5 is out of range"
    with pytest.raises(IndexError, match=message):
        layers.Embedding(10, 4)(words).numpy()


def test_masks(device):
    words = np.array([[1, 0, 2], [0, 0, 3]])
    mask = layers.Embedding(5, 2, mask_zero=True).compute_mask(words)
    np.testing.assert_array_equal(mask, words != 0)
    assert layers.Embedding(5, 2).compute_mask(words) is None
    layer = layers.Masking(-1.0)
    x = np.array([[[-1.0, -1.0], [-1.0, 2.0]]], "float32")
    np.testing.assert_array_equal(layer.compute_mask(x), [[False, True]])
    np.testing.assert_array_equal(layer(x), [[[0.0, 0.0], [-1.0, 2.0]]])
    assert layers.Masking.from_config(layer.get_config()).mask_value == -1


def test_padding_may_be_left_out():
    """The mask of an Embedding, handed to an LSTM: padded words change nothing."""
    words, lstm = layers.Embedding(9, 4, mask_zero=True), layers.LSTM(5)
    padded = np.array([[3, 5, 0, 0]])
    near(lstm(words(padded), mask=words.compute_mask(padded)), lstm(words(padded[:, :2])))


def test_a_bad_number_in_fit_changes_nothing(device):
    """The weights before the bad batch stay, in evaluate and for a loss of one's own the message is about an index."""
    model = nnfast.Sequential([layers.Embedding(3, 2, name="words"), layers.Flatten(), layers.Dense(1)])
    model.compile("adam", "mse")
    x, y = np.zeros((6, 2), "int64"), np.ones(6)
    model.fit(x, y, batch_size=2, verbose=0)
    before = [v.numpy() for v in model.weights + model.optimizer.variables]
    x[1, 1] = 3
    for call in (model.fit, model.evaluate):
        with pytest.raises(IndexError, match=r"\[words\].*Received: 3 in sample 1, position 1.*row 1 of the data"):
            call(x[:2], y[:2], verbose=0, **({"shuffle": False} if call == model.fit else {}))
    assert all((a == v.numpy()).all() for a, v in zip(before, model.weights + model.optimizer.variables))

    def loss(y, p):
        return ops.mean((ops.one_hot(ops.cast(y, "int64"), 2) - p) ** 2)

    model = nnfast.Sequential([layers.Dense(2)])
    model.compile("sgd", loss)
    with pytest.raises(IndexError, match=r"\[fit\] an index is out of range. Received: 2 \(batch 0 of epoch 1\)"):
        model.fit(np.ones((3, 4)), [0, 1, 2], verbose=0)
