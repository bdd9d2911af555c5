"""Sentences, character by character, through an embedding and an LSTM or SimpleRNN: is a review kind or not?

The sentences are put together from Chinese words, so nothing has to be downloaded; IMDB's reviews take their place with
`nnfast.datasets.imdb.load_data()`.
"""

import numpy as np
from common import quick

from nnfast import layers
from nnfast.models import Sequential
from nnfast.optimizers import Adam

rng = np.random.default_rng(0)
subjects, very = ["電影", "這部片", "劇情", "音樂", "演員"], ["很", "非常", "真的", "有點"]
kind, unkind = ["好看", "感人", "有趣", "精彩"], ["無聊", "難看", "糟糕", "失望"]


def review():
    """A sentence of two or three parts, and whether most of them are kind. 不 turns a word round."""
    parts, balance = [], 0
    for _ in range(3):
        good, turned = rng.random() < 0.5, rng.random() < 0.25
        words = kind if good else unkind
        middle = "不" if turned else rng.choice(very)
        parts.append(rng.choice(subjects) + middle + rng.choice(words))
        balance += 1 if good != turned else -1
    return "，".join(parts), balance > 0


texts, labels = zip(*(review() for _ in range(300 if quick else 4000)))
characters = sorted(set("".join(texts)))
number = {c: i + 1 for i, c in enumerate(characters)}  # 0 fills up
longest = max(map(len, texts))
data = np.array([[number[c] for c in t] + [0] * (longest - len(t)) for t in texts])
target = np.array(labels, "float32")
cut = len(data) * 4 // 5
for recurrent in (layers.SimpleRNN(24), layers.LSTM(24)):
    model = Sequential(
        [layers.Embedding(len(characters) + 1, 12, mask_zero=True), recurrent, layers.Dense(1, "sigmoid")]
    )
    model.compile(Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    model.fit(data[:cut], target[:cut], epochs=1 if quick else 12, verbose=0)
    right = model.evaluate(data[cut:], target[cut:], verbose=0)[1]
    print(f"{type(recurrent).__name__}: {right:.3f} of {len(data) - cut} new sentences")
scores = model.predict(data[cut : cut + 4], verbose=0)[:, 0]
for text, score, label in zip(texts[cut:], scores, labels[cut:]):
    print(f"{score:.2f} ({'kind' if label else 'not'})  {text}")
