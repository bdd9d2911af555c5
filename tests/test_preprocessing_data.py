"""Helpers around data: sequences, splits, PyDataset, pictures, tokenizers, numerical gradients."""

import io
import json
import os

import numpy as np
import pytest

import nnfast
from nnfast import layers, ops, utils
from nnfast.preprocessing.text import Tokenizer, text_to_word_sequence, tokenizer_from_json


class TestPadSequences:
    @pytest.mark.parametrize(
        "options, expected",
        [
            ({}, [[1, 2, 3], [0, 0, 4], [0, 0, 0]]),
            ({"padding": "post"}, [[1, 2, 3], [4, 0, 0], [0, 0, 0]]),
            ({"maxlen": 2}, [[2, 3], [0, 4], [0, 0]]),
            ({"maxlen": 2, "truncating": "post"}, [[1, 2], [0, 4], [0, 0]]),
            ({"maxlen": 4, "value": 9, "padding": "post"}, [[1, 2, 3, 9], [4, 9, 9, 9], [9, 9, 9, 9]]),
            ({"maxlen": 0}, [[], [], []]),
        ],
    )
    def test_by_hand(self, options, expected):
        got = utils.pad_sequences([[1, 2, 3], [4], []], **options)
        assert got.dtype == np.int32 and got.tolist() == expected

    def test_vectors_strings_and_nothing(self):
        got = utils.pad_sequences([np.ones((1, 2)), np.zeros((2, 2))], dtype="float64")
        assert got.shape == (2, 2, 2) and got[0].tolist() == [[0, 0], [1, 1]]
        words = utils.pad_sequences([["a", "b"], ["c"]], dtype=object, value="")
        assert words.tolist() == [["a", "b"], ["", "c"]]
        assert utils.pad_sequences([]).shape == (0, 0)
        assert nnfast.preprocessing.sequence.pad_sequences is utils.pad_sequences

    @pytest.mark.parametrize(
        "call, words",
        [
            (lambda: utils.pad_sequences([[1]], padding="left"), ["padding", "'left'"]),
            (lambda: utils.pad_sequences([[1], 2]), ["sequences[1]=2"]),
            (lambda: utils.pad_sequences(3), ["a list"]),
            (lambda: utils.pad_sequences([[1]], value="x"), ["'x'", "int32", "dtype=object"]),
            (lambda: utils.pad_sequences([[[1, 2]], [[1]]]), ["(2,)", "(1,)", "sequences[1]"]),
        ],
    )
    def test_messages(self, call, words):
        with pytest.raises(ValueError) as caught:
            call()
        assert all(word in str(caught.value) for word in ["[pad_sequences]", *words])

    @pytest.mark.peers
    def test_like_keras(self, rng):
        os.environ.setdefault("KERAS_BACKEND", "torch")
        keras = pytest.importorskip("keras")
        rows = [rng.integers(0, 9, rng.integers(0, 8)).tolist() for _ in range(20)]
        for maxlen in (None, 3, 10):
            for padding in ("pre", "post"):
                options = {"maxlen": maxlen, "padding": padding, "truncating": padding}
                got, expected = (m.utils.pad_sequences(rows, **options) for m in (nnfast, keras))
                np.testing.assert_array_equal(got, expected)
                assert got.dtype == expected.dtype


class TestSplit:
    def test_structures(self):
        x, y = np.arange(10), np.arange(10.0) * 2
        (xa, ya), (xb, yb) = utils.split_dataset((x, y), left_size=0.7)
        assert xa.tolist() == [*range(7)] and yb.tolist() == [14, 16, 18] and (ya == 2 * xa).all() and len(xb) == 3
        left, right = utils.split_dataset({"x": x}, right_size=4)
        assert left["x"].tolist() == [*range(6)] and right["x"].tolist() == [6, 7, 8, 9]
        left, right = utils.split_dataset(x, 3, 2)
        assert left.tolist() == [0, 1, 2] and right.tolist() == [3, 4]
        left, right = utils.split_dataset([x, y], 0.5, shuffle=True, seed=1)
        assert (
            isinstance(left, list) and sorted([*left[0], *right[0]]) == [*range(10)] and left[0].tolist() != [*range(5)]
        )
        again, _ = utils.split_dataset([x, y], 0.5, shuffle=True, seed=1)
        assert again[0].tolist() == left[0].tolist() and (left[1] == 2 * left[0]).all()

    @pytest.mark.parametrize("options", [{}, {"left_size": 1.5}, {"left_size": 10}, {"left_size": 8, "right_size": 5}])
    def test_sizes_that_do_not_fit(self, options):
        with pytest.raises(ValueError, match=r"\[split_dataset\]"):
            utils.split_dataset(np.arange(10), **options)
        with pytest.raises(ValueError, match=r"\(10,\), \(9,\)"):
            utils.split_dataset((np.arange(10), np.arange(9)), 0.5)


class Batches(utils.Sequence):
    def __init__(self, x, y, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.ends = x, y, 0

    def __len__(self):
        return len(self.x) // 8

    def __getitem__(self, i):
        return self.x[i * 8 : i * 8 + 8], self.y[i * 8 : i * 8 + 8]

    def on_epoch_end(self):
        self.ends += 1


def test_fit_takes_a_sequence(rng):
    x = rng.normal(size=(64, 3)).astype("float32")
    batches = Batches(x, x.sum(1, keepdims=True), workers=2)
    model = nnfast.Sequential([layers.Dense(1)])
    model.compile("adam", "mse")
    history = model.fit(batches, epochs=3, verbose=0, validation_data=batches)
    assert len(history.history["val_loss"]) == 3 and batches.ends >= 3
    assert model.predict(Batches(x, x), verbose=0).shape == (64, 1)
    with pytest.raises(NotImplementedError, match=r"\[PyDataset\].*__len__"):
        len(utils.PyDataset())
    with pytest.raises(NotImplementedError, match="__getitem__"):
        utils.PyDataset()[0]


class TestPictures:
    @pytest.fixture(autouse=True)
    def pillow(self):
        pytest.importorskip("PIL")

    def test_round_trips(self, tmp_path, rng):
        x = rng.integers(0, 256, (7, 5, 3)).astype("uint8")
        for name, array in (("a.png", x), ("b.png", x[:, :, :1]), ("c.png", np.concatenate([x, x[:, :, :1]], -1))):
            utils.save_img(tmp_path / name, array, scale=False)
            mode = {1: "grayscale", 3: "rgb", 4: "rgba"}[array.shape[2]]
            got = utils.img_to_array(utils.load_img(tmp_path / name, color_mode=mode))
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got, array)
        first = utils.img_to_array(utils.load_img(str(tmp_path / "a.png")), data_format="channels_first", dtype="uint8")
        np.testing.assert_array_equal(first, x.transpose(2, 0, 1))
        again = utils.array_to_img(first, data_format="channels_first", scale=False)
        np.testing.assert_array_equal(np.asarray(again), x)

    def test_scales(self):
        got = np.asarray(utils.array_to_img(np.array([[[-1.0], [0.0], [1.0]]])))
        assert got.tolist() == [[0, 127, 255]]
        assert np.asarray(utils.array_to_img(np.full((1, 1, 1), 7.0))).tolist() == [[0]]

    def test_sizes(self, tmp_path, rng):
        utils.save_img(tmp_path / "a.png", rng.uniform(size=(20, 40, 3)))
        assert utils.load_img(tmp_path / "a.png", target_size=(10, 10)).size == (10, 10)
        data = io.BytesIO((tmp_path / "a.png").read_bytes())
        kept = utils.load_img(data, target_size=(10, 10), interpolation="nearest", keep_aspect_ratio=True)
        whole = utils.load_img(tmp_path / "a.png").crop((10, 0, 30, 20)).resize((10, 10), 0)
        np.testing.assert_array_equal(np.asarray(kept), np.asarray(whole))

    def test_jpeg_has_no_transparency(self, tmp_path):
        with pytest.warns(UserWarning, match="no transparency"):
            utils.save_img(tmp_path / "a.jpg", np.zeros((4, 4, 4)))
        assert utils.load_img(tmp_path / "a.jpg").mode == "RGB"

    @pytest.mark.parametrize(
        "call, words",
        [
            (lambda: utils.load_img("a", color_mode="bgr"), ["color_mode", "'bgr'"]),
            (lambda: utils.load_img("a", interpolation="best"), ["interpolation", "'best'"]),
            (lambda: utils.array_to_img(np.zeros((2, 2))), ["3 dimensions", "(2, 2)"]),
            (lambda: utils.array_to_img(np.zeros((2, 2, 2))), ["channels", "2"]),
            (lambda: utils.img_to_array(np.zeros(3)), ["(3,)"]),
        ],
    )
    def test_messages(self, call, words):
        with pytest.raises(ValueError) as caught:
            call()
        assert all(word in str(caught.value) for word in words)


class TestTokenizer:
    TEXTS = ("The cat sat on the mat.", "The dog, the DOG!", "a mat")

    def test_numbers_by_frequency(self):
        tokenizer = Tokenizer()
        tokenizer.fit_on_texts(self.TEXTS)
        assert list(tokenizer.word_index) == ["the", "mat", "dog", "cat", "sat", "on", "a"]
        assert tokenizer.word_counts["the"] == 4 and tokenizer.word_docs["the"] == 2 and tokenizer.document_count == 3
        assert tokenizer.texts_to_sequences(["the dog sat up"]) == [[1, 3, 5]]
        assert tokenizer.sequences_to_texts([[1, 3, 99]]) == ["the dog"]

    def test_limits_and_unknown_words(self):
        tokenizer = Tokenizer(num_words=4, oov_token="?")
        tokenizer.fit_on_texts(self.TEXTS)
        assert tokenizer.word_index["?"] == 1 and tokenizer.word_index["the"] == 2
        assert tokenizer.texts_to_sequences(["the dog mat up"]) == [[2, 1, 3, 1]]
        assert tokenizer.sequences_to_texts([[2, 4, 3]]) == ["the ? mat"]

    def test_chinese(self):
        tokenizer = Tokenizer()
        tokenizer.fit_on_texts(["这部电影很好看。", "电影不好！Very bad…", "「好」"])
        assert tokenizer.word_index["好"] == 1 and {"电", "影", "very", "bad"} <= set(tokenizer.word_index)
        assert not set("。！…「」") & set(tokenizer.word_index)
        assert text_to_word_sequence("很好 good") == ["很", "好", "good"]
        assert text_to_word_sequence("很好，good", split_cjk=False) == ["很好，good"]
        assert text_to_word_sequence("カタカナ 한국") == ["カ", "タ", "カ", "ナ", "한", "국"]

    def test_characters_words_and_analyzers(self):
        tokenizer = Tokenizer(char_level=True)
        tokenizer.fit_on_texts(["aab"])
        assert tokenizer.word_index == {"a": 1, "b": 2}
        tokenizer = Tokenizer()
        tokenizer.fit_on_texts([["New", "York"], "new"])
        assert tokenizer.word_index == {"new": 1, "york": 2}
        tokenizer = Tokenizer(analyzer=lambda text: text.split("|"))
        tokenizer.fit_on_texts(["a b|c"])
        assert tokenizer.texts_to_sequences(["c|a b"]) == [[2, 1]]

    def test_matrices(self):
        tokenizer = Tokenizer()
        tokenizer.fit_on_texts(["a b a", "b", "c"])
        rows = {m: tokenizer.texts_to_matrix(["a b a"], m)[0].tolist() for m in ("binary", "count", "freq", "tfidf")}
        assert rows["binary"] == [0, 1, 1, 0] and rows["count"] == [0, 2, 1, 0]
        assert rows["freq"] == pytest.approx([0, 2 / 3, 1 / 3, 0])
        assert rows["tfidf"] == pytest.approx([0, (1 + np.log(2)) * np.log(1 + 3 / 2), np.log(1 + 3 / 3), 0])
        with pytest.raises(ValueError, match="'tf'"):
            tokenizer.texts_to_matrix(["a"], "tf")
        with pytest.raises(ValueError, match="num_words"):
            Tokenizer().sequences_to_matrix([[1]])
        counted = Tokenizer(num_words=4)
        counted.fit_on_sequences([[1, 1, 2], [2]])
        assert counted.sequences_to_matrix([[2]], "tfidf")[0, 2] == pytest.approx(np.log(1 + 2 / 3))

    def test_json(self):
        tokenizer = Tokenizer(num_words=5, oov_token="?")
        tokenizer.fit_on_texts(self.TEXTS)
        again = tokenizer_from_json(tokenizer.to_json())
        assert again.texts_to_sequences(self.TEXTS) == tokenizer.texts_to_sequences(self.TEXTS)
        assert again.get_config() == tokenizer.get_config()
        assert isinstance(json.loads(tokenizer.to_json())["config"]["word_index"], str)  # as Keras writes it

    def test_messages(self):
        with pytest.raises(ValueError, match="a list of texts"):
            Tokenizer().fit_on_texts("one text")
        with pytest.raises(TypeError, match="nb_words"):
            Tokenizer(nb_words=3)


class TestGradients:
    def test_the_course(self):
        """The softmax of the course, by a closure over float arrays."""
        z = np.array([[2.0, 25, 13], [54, 3, 11]])
        y = [2, 1]

        def loss():
            e = np.exp(z - z.max(1, keepdims=True))
            return -np.log((e / e.sum(1, keepdims=True))[[0, 1], y]).mean()

        [g] = utils.numerical_gradient(loss, [z])
        assert z.tolist() == [[2.0, 25, 13], [54, 3, 11]]
        np.testing.assert_allclose(g, [[5.13e-11, 0.49999693, -0.49999693], [0.5, -0.5, 1.06e-19]], atol=1e-7)

    def test_variables_and_arguments(self):
        v = nnfast.Variable(np.array([1.0, 2.0]))
        w = np.array(3.0)
        for f in (lambda: ops.sum(v * v) * float(w), lambda a, b: ops.sum(a * a) * float(b)):
            gv, gw = utils.numerical_gradient(f, [v, w])
            np.testing.assert_allclose(gv, [6, 12], rtol=1e-6)
            assert gw == pytest.approx(5)
        with pytest.raises(TypeError, match=r"params\[0\]: int64"):
            utils.numerical_gradient(lambda: 0.0, [np.array([1])])

    def test_an_error_in_f_leaves_the_params(self):
        x = np.array([1.0])
        with pytest.raises(ZeroDivisionError):
            utils.numerical_gradient(lambda: 1 / 0, [x])
        assert x[0] == 1

    def test_gradcheck(self, rng):
        x, w = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
        assert utils.gradcheck(lambda a, b: ops.tanh(a @ b), (x, w))
        assert utils.gradcheck(ops.sigmoid, x)

    def test_gradcheck_names_the_wrong_element(self):
        wrong = np.array([[1.0, 1.0], [1.0, 0.0]])
        with pytest.raises(AssertionError, match=r"input 1, element \(1, 1\): the tape says 0.0.* quotient 2.0"):
            utils.gradcheck(
                lambda a, b: ops.sum(a) + ops.sum(b * wrong) + ops.sum(b.detach() * (1 - wrong)) * 2.0,
                [np.ones(2), np.ones((2, 2))],
            )
        assert not utils.gradcheck(lambda a: a.detach() * 1.0 + 0.0 * a, [1.0], raise_exception=False)
        with pytest.raises(AssertionError, match="says nan"):
            utils.gradcheck(lambda a: ops.sum(a * float("nan")), [1.0])


def test_gradcheck_of_derived_gradients():
    """004-22: gradients that were derived by hand, and the element where they are wrong."""
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((5, 3)), rng.standard_normal((3, 2)), np.zeros(2)
    gradcheck = nnfast.utils.gradcheck

    def loss(w, b):
        return 0.5 * ((x @ w + b) ** 2).sum()

    def derived(w, b):
        return [x.T @ (x @ w + b), (x @ w + b).sum(0)]

    before = w.copy()
    assert gradcheck(loss, [w, b], gradients=derived) and (w == before).all()
    assert gradcheck(loss, [w, b], gradients=derived(w, b))
    wrong = derived(w, b)
    wrong[0][2, 1] += 0.1
    with pytest.raises(AssertionError, match=r"\[gradcheck\] input 0, element \(2, 1\): your gradient says "):
        gradcheck(loss, [w, b], gradients=wrong)
    assert not gradcheck(loss, [w, b], gradients=wrong, raise_exception=False)
    wrong[0][0, 0] = np.nan
    with pytest.raises(AssertionError, match=r"element \(0, 0\): your gradient says nan"):
        gradcheck(loss, [w, b], gradients=wrong)
    assert gradcheck(lambda v: (v**2).sum(), np.array([1.0, 2.0]), gradients=[2.0, 4.0])
    with pytest.raises(ValueError, match=r"each input.*\[\(3, 2\)\] for inputs of shapes \[\(3, 2\), \(2,\)\]"):
        gradcheck(loss, [w, b], gradients=wrong[:1])
    with pytest.raises(TypeError, match=r"one number"):
        gradcheck(lambda v: v, np.ones(3), gradients=np.ones(3))
