"""A functional model: three inputs, joined, and two outputs; 1,286,789 parameters. Its plot has boxes and arrows."""

from pathlib import Path

import numpy as np
from common import options, quick

from nnfast import Input, Model, layers
from nnfast.utils import plot_model

vocabulary_size, num_tags, num_departments = 10000, 100, 4
title = Input(shape=(vocabulary_size,), name="title")
text_body = Input(shape=(vocabulary_size,), name="text_body")
tags = Input(shape=(num_tags,), name="tags")
features = layers.Concatenate()([title, text_body, tags])
features = layers.Dense(64, activation="relu")(features)
priority = layers.Dense(1, activation="sigmoid", name="priority")(features)
department = layers.Dense(num_departments, activation="softmax", name="department")(features)
model = Model(inputs=[title, text_body, tags], outputs=[priority, department])
model.summary()
print(f"parameters: course 1,286,789, here {model.count_params():,}")

rng = np.random.default_rng(0)
n = 64 if quick else 1280
data = {
    "title": rng.random((n, vocabulary_size)) < 0.001,  # which words occur
    "text_body": rng.random((n, vocabulary_size)) < 0.01,
    "tags": rng.integers(0, 2, (n, num_tags)),
}
urgent = data["tags"][:, :1].astype("float32")  # what the first tag says
who = np.eye(num_departments, dtype="float32")[data["tags"][:, 1] + 2 * data["tags"][:, 2]]
model.compile("rmsprop", loss={"priority": "mean_squared_error", "department": "categorical_crossentropy"})
history = model.fit(data, {"priority": urgent, "department": who}, epochs=1 if quick else 10, verbose=0).history
print({name: round(values[-1], 4) for name, values in history.items()})
picture = Path(options.out, "three_inputs.png")
picture.parent.mkdir(parents=True, exist_ok=True)
plot_model(model, picture, show_shapes=True)
print(f"picture: {picture}")
