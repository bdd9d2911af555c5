"""From texts to numbers: words are numbered by how frequent they are.

Chinese, Japanese and Korean write no spaces between words, so each of their characters counts as a word of its own.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

_TABLES = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")
FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_CJK = re.compile(
    "([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U000323af])"
)  # kana, ideographs, hangul
_CJK_MARKS = "　、。〃〈〉《》「」『』【】〔〕〖〗〝〞・…—～￥“”‘’" + "".join(
    chr(ord(c) + 0xFEE0) for c in FILTERS if c > " "
)


def text_to_word_sequence(
    input_text: str, filters: str = FILTERS, lower: bool = True, split: str = " ", split_cjk: bool = True
) -> list[str]:
    """The words of a text.

    Args:
        input_text: the text.
        filters: characters that separate words and are dropped.
        lower: in small letters?
        split: what else separates words.
        split_cjk: is each Chinese, Japanese or Korean character a word? Their punctuation is then dropped, too.

    >>> text_to_word_sequence("Good movie! 很好看。")
    ['good', 'movie', '很', '好', '看']
    """
    text = input_text.lower() if lower else input_text
    text = text.translate({ord(c): split for c in filters + (_CJK_MARKS if split_cjk and filters else "")})
    if split_cjk:
        text = _CJK.sub(f"{split}\\1{split}" if split != "\\" else r" \1 ", text)
    return [word for word in text.split(split) if word]


class Tokenizer:
    """Numbers words by how frequent they are: 1 is the most frequent one; 0 stays free for padding.

    Args:
        num_words: only words with numbers below it are used; default: all.
        filters, lower, split, split_cjk: see `text_to_word_sequence`.
        char_level: is every character a word?
        oov_token: a word for those that were not seen, with number 1; default: they are left out.
        analyzer: a function text -> words instead of all this.

    Attributes:
        word_index, index_word: {word: number} and the reverse.
        word_counts, word_docs: how often a word was seen, and in how many texts.

    >>> tokenizer = Tokenizer(oov_token="<unk>")
    >>> tokenizer.fit_on_texts(["the cat sat", "the dog"])
    >>> tokenizer.texts_to_sequences(["the bird sat"])
    [[2, 1, 4]]
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: str = FILTERS,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
        analyzer: Callable[[str], Iterable[str]] | None = None,
        split_cjk: bool = True,
        **kwargs: Any,
    ):
        self.document_count = kwargs.pop("document_count", 0)
        if kwargs:
            raise TypeError(f"[Tokenizer] unknown argument. Received: {', '.join(kwargs)}")
        self.num_words, self.filters, self.lower, self.split = num_words, filters, lower, split
        self.char_level, self.oov_token, self.analyzer, self.split_cjk = char_level, oov_token, analyzer, split_cjk
        self.word_counts: Counter[str] = Counter()
        self.word_docs: Counter[str] = Counter()
        self.index_docs: Counter[int] = Counter()
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}

    def _words(self, text: Any) -> list[str]:
        if not isinstance(text, str):  # words already
            return [str(w).lower() if self.lower else str(w) for w in text]
        if self.analyzer is not None:
            return list(self.analyzer(text))
        if self.char_level:
            return [*(text.lower() if self.lower else text)]
        return text_to_word_sequence(text, self.filters, self.lower, self.split, self.split_cjk)

    def fit_on_texts(self, texts: Iterable[Any]) -> None:
        """Counts the words of texts (strings, or lists of words) and numbers them anew."""
        if isinstance(texts, str):
            raise ValueError(f"[fit_on_texts] texts must be a list of texts. Received: the string {texts[:40]!r}")
        for text in texts:
            words = self._words(text)
            self.document_count += 1
            self.word_counts.update(words)
            self.word_docs.update(dict.fromkeys(words, 1))
        ordered = [w for w, _ in sorted(self.word_counts.items(), key=lambda pair: -pair[1])]
        if self.oov_token is not None:
            ordered = [self.oov_token, *(w for w in ordered if w != self.oov_token)]
        self.word_index = {w: i for i, w in enumerate(ordered, 1)}
        self.index_word = {i: w for w, i in self.word_index.items()}
        self.index_docs = Counter({self.word_index[w]: n for w, n in self.word_docs.items()})

    def fit_on_sequences(self, sequences: Iterable[Iterable[int]]) -> None:
        """Counts in how many sequences each number occurs (for "tfidf")."""
        for sequence in sequences:
            self.document_count += 1
            self.index_docs.update(set(sequence))

    def texts_to_sequences(self, texts: Iterable[Any]) -> list[list[int]]:
        """The numbers of the words of each text."""
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts: Iterable[Any]) -> Iterator[list[int]]:
        """The same, one text at a time."""
        limit = self.num_words or math.inf
        unknown = None if self.oov_token is None else self.word_index.get(self.oov_token)
        for text in texts:
            numbers = (self.word_index.get(w) for w in self._words(text))
            known = (n if n is not None and n < limit else unknown for n in numbers)
            yield [n for n in known if n is not None]

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """The words of each sequence, with spaces between."""
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(self, sequences: Iterable[Iterable[int]]) -> Iterator[str]:
        """The same, one sequence at a time."""
        limit = self.num_words or math.inf
        for sequence in sequences:
            words = (self.index_word.get(int(n)) if n < limit else None for n in sequence)
            yield " ".join(w for w in (self.oov_token if w is None else w for w in words) if w is not None)

    def texts_to_matrix(self, texts: Iterable[Any], mode: str = "binary") -> np.ndarray:
        """A row per text with a column per word, see `sequences_to_matrix`."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences: Any, mode: str = "binary") -> np.ndarray:
        """A row per sequence with a column per number.

        Args:
            sequences: lists of numbers.
            mode: "binary" (1 where the word occurs), "count", "freq" (count / length), or "tfidf":
                (1 + log(count)) * log(1 + texts / (1 + texts with the word)).
        """
        if mode not in ("binary", "count", "freq", "tfidf"):
            raise ValueError(f"[sequences_to_matrix] mode must be binary, count, freq or tfidf. Received: {mode!r}")
        if self.num_words is None and not self.word_index:
            raise ValueError("[sequences_to_matrix] the number of columns is not known. Give num_words, or fit first")
        if mode == "tfidf" and not self.document_count:
            raise ValueError("[sequences_to_matrix] tfidf needs counts. Call fit_on_texts or fit_on_sequences first")
        columns = self.num_words or len(self.word_index) + 1
        matrix = np.zeros((len(sequences), columns))
        for row, sequence in zip(matrix, sequences):
            for n, count in Counter(n for n in sequence if n < columns).items():
                if mode == "tfidf":
                    row[n] = (1 + math.log(count)) * math.log(1 + self.document_count / (1 + self.index_docs[n]))
                else:
                    row[n] = {"binary": 1, "count": count, "freq": count / len(sequence)}[mode]
        return matrix

    def get_config(self) -> dict[str, Any]:
        """The arguments and what was counted; as in Keras, tables are JSON strings."""
        own = ("num_words", "filters", "lower", "split", "char_level", "oov_token", "document_count", "split_cjk")
        return {k: getattr(self, k) for k in own} | {k: json.dumps(getattr(self, k)) for k in _TABLES}

    def to_json(self, **kwargs: Any) -> str:
        """The config as JSON, for `tokenizer_from_json`."""
        return json.dumps({"class_name": "Tokenizer", "config": self.get_config()}, **kwargs)


def tokenizer_from_json(json_string: str) -> Tokenizer:
    """The Tokenizer that `to_json` of nnfast or Keras 2 described.

    >>> tokenizer = Tokenizer()
    >>> tokenizer.fit_on_texts(["a b a"])
    >>> tokenizer_from_json(tokenizer.to_json()).word_index
    {'a': 1, 'b': 2}
    """
    config = dict(json.loads(json_string)["config"])
    tables = {k: json.loads(config.pop(k)) for k in _TABLES}
    tokenizer = Tokenizer(**config)
    tokenizer.word_counts, tokenizer.word_docs = Counter(tables["word_counts"]), Counter(tables["word_docs"])
    tokenizer.index_docs = Counter({int(k): v for k, v in tables["index_docs"].items()})
    tokenizer.word_index = tables["word_index"]
    tokenizer.index_word = {int(k): v for k, v in tables["index_word"].items()}
    return tokenizer
