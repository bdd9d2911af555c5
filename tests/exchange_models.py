"""Small models for the exchange of files with Keras: each entry is one piece of code that both packages run.

An entry is a function of the package, `nnfast` or `keras`, that gives a model; its name is that of the layer that it is
there for, with a word for the variant. test_exchange.py saves each in either package and opens it in the other.
"""

import numpy as np

SHAPES = {
    "flat": (6,),
    "sequence": (5, 4),
    "steps": (12, 3),
    "image": (8, 9, 4),
    "words": (7,),
}


def _sequential(shape, *stack, **options):
    def build(K):
        return K.Sequential([K.Input(shape, **options), *(make(K.layers) for make in stack)])

    return build


def _in(shape):
    return lambda *stack, **options: _sequential(SHAPES[shape], *stack, **options)


flat, sequence, steps, image = (_in(name) for name in ("flat", "sequence", "steps", "image"))


def words(*stack):
    return _sequential(SHAPES["words"], lambda L: L.Embedding(11, 4), *stack, dtype="int32")


def _merge(make, shapes=((6,), (6,))):
    def build(K):
        inputs = [K.Input(s) for s in shapes]
        return K.Model(inputs, make(K.layers, inputs))

    return build


def _shared(K):
    """Two inputs through one layer, two outputs, a layer inside a layer, a nested model."""
    a, b = K.Input((6,), name="a"), K.Input((6,), name="b")
    inner = K.Sequential([K.Input((6,)), K.layers.Dense(4, "relu"), K.layers.Dense(3)], name="inner")
    x, y = inner(a), inner(b)
    both = K.layers.Concatenate()([x, y])
    return K.Model([a, b], [K.layers.Dense(2, name="one")(both), K.layers.Add(name="two")([x, y])])


def _operations(K):
    """Functions of ops and operators on Inputs, and what comes out of them into layers again."""
    o, x = K.ops, K.Input((4, 3))
    y = o.concatenate([o.relu(x), o.exp(-o.absolute(x)), 1 - x / 2], axis=-1)
    y = o.transpose(K.layers.Dense(4, "tanh")(y), (0, 2, 1))
    first, rest = o.split(y, [1], axis=1)
    z = rest - o.mean(rest, axis=1, keepdims=True) + o.max(first, axis=-1, keepdims=True)
    z = o.where(z > 0, o.sqrt(o.clip(z, 0.01, 4.0)), o.leaky_relu(z, negative_slope=0.1))
    z = o.stack([z, o.flip(z, axis=2)], axis=1)
    z = o.reshape(o.take(o.moveaxis(z, 1, 2), [2, 0], axis=1), (-1, 16))
    w = o.one_hot(o.argmax(z, axis=1), 16) * o.softmax(z, axis=-1) + o.cast(o.less(z, 0.1), "float32")
    w = o.squeeze(o.expand_dims(w, 1), 1) + o.logsumexp(z, axis=1, keepdims=True) + o.std(z, axis=1, keepdims=True)
    v = o.pad(o.repeat(o.tile(z[:, :2], (1, 2)), 2, axis=1), ((0, 0), (3, 5)))
    v = o.matmul(o.swapaxes(o.reshape(v, (-1, 4, 4)), 1, 2), o.sigmoid(x))
    return K.Model(x, [K.layers.Dense(2)(w), o.maximum(o.sum(v, axis=(1, 2)), o.power(o.prod(first, axis=(1, 2)), 2))])


def _recurrent(name, **options):
    return {
        name: sequence(lambda L: getattr(L, name)(3, **options)),
        f"{name} sequences backwards": sequence(
            lambda L: getattr(L, name)(3, return_sequences=True, go_backwards=True, use_bias=False, **options)
        ),
        f"{name} after Masking": sequence(lambda L: L.Masking(0.0), lambda L: getattr(L, name)(3, **options)),
        f"{name} in Bidirectional": sequence(
            lambda L: L.Bidirectional(getattr(L, name)(3, return_sequences=True, **options)), lambda L: L.Dense(2)
        ),
    }


REGULARIZED = {
    "kernel_initializer": "he_normal",
    "kernel_regularizer": "l2",
    "bias_regularizer": "l1",
    "kernel_constraint": "max_norm",
    "bias_constraint": "non_neg",
}

MODELS = {
    "Dense": flat(lambda L: L.Dense(4, "tanh"), lambda L: L.Dense(3, use_bias=False)),
    "Dense options": flat(lambda L: L.Dense(4, "relu", activity_regularizer="l2", **REGULARIZED)),
    "Activation": flat(*(lambda L, a=a: L.Activation(a) for a in ("elu", "gelu", "selu", "softsign", "log_softmax"))),
    "ReLU": flat(lambda L: L.ReLU(0.9, negative_slope=0.1, threshold=0.2)),
    "LeakyReLU": flat(lambda L: L.LeakyReLU(negative_slope=0.15)),
    "PReLU": image(lambda L: L.PReLU(alpha_initializer="uniform", shared_axes=[1, 2])),
    "ELU": flat(lambda L: L.ELU(0.5)),
    "Softmax": image(lambda L: L.Softmax(axis=-1)),
    "Dropout": flat(lambda L: L.Dropout(0.5, seed=3), lambda L: L.Dense(2)),
    "Flatten": image(lambda L: L.Flatten(), lambda L: L.Dense(2)),
    "Reshape": image(lambda L: L.Reshape((9, -1))),
    "Permute": image(lambda L: L.Permute((3, 1, 2))),
    "RepeatVector": flat(lambda L: L.RepeatVector(3)),
    "Identity": flat(lambda L: L.Identity()),
    "Rescaling": image(lambda L: L.Rescaling(1 / 255, offset=0.5)),
    "Normalization": image(lambda L: L.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 2.0, 3.0, 4.0])),
    "Conv2D": image(
        lambda L: L.Conv2D(3, 3, padding="same", activation="relu", **REGULARIZED),
        lambda L: L.Conv2D(4, (2, 3), strides=2),
        lambda L: L.Conv2D(2, 2, dilation_rate=2, padding="same", use_bias=False),
    ),
    "Conv2D groups": image(lambda L: L.Conv2D(6, 3, groups=2)),
    "Conv1D": steps(lambda L: L.Conv1D(4, 3, padding="causal", dilation_rate=2), lambda L: L.Conv1D(2, 3, strides=2)),
    "DepthwiseConv2D": image(lambda L: L.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu")),
    "SeparableConv2D": image(lambda L: L.SeparableConv2D(5, 3, depth_multiplier=2, padding="same")),
    "Conv2DTranspose": image(lambda L: L.Conv2DTranspose(3, 3, strides=2, padding="same")),
    "MaxPooling2D": image(lambda L: L.MaxPooling2D((2, 3), strides=1, padding="same")),
    # With padding="same" Keras on PyTorch counts cells outside the image; on TensorFlow, as here, it does not.
    "AveragePooling2D": image(lambda L: L.AveragePooling2D(3, strides=2)),
    "MaxPooling1D": steps(lambda L: L.MaxPooling1D(3, strides=2)),
    "AveragePooling1D": steps(lambda L: L.AveragePooling1D(2)),
    "GlobalMaxPooling2D": image(lambda L: L.GlobalMaxPooling2D()),
    "GlobalAveragePooling2D": image(lambda L: L.GlobalAveragePooling2D(keepdims=True)),
    "GlobalMaxPooling1D": steps(lambda L: L.GlobalMaxPooling1D()),
    "GlobalAveragePooling1D": steps(lambda L: L.GlobalAveragePooling1D()),
    "UpSampling2D": image(lambda L: L.UpSampling2D((2, 3))),
    "ZeroPadding2D": image(lambda L: L.ZeroPadding2D(((1, 2), (0, 3)))),
    "Cropping2D": image(lambda L: L.Cropping2D(((1, 2), (0, 3)))),
    "BatchNormalization": image(lambda L: L.Conv2D(3, 3), lambda L: L.BatchNormalization(momentum=0.9, epsilon=1e-4)),
    "BatchNormalization bare": flat(lambda L: L.BatchNormalization(center=False, scale=False)),
    "LayerNormalization": sequence(lambda L: L.LayerNormalization(epsilon=1e-4)),
    "GaussianNoise": flat(lambda L: L.GaussianNoise(0.5, seed=1), lambda L: L.Dense(2)),
    "SpatialDropout2D": image(lambda L: L.SpatialDropout2D(0.5)),
    "ActivityRegularization": flat(lambda L: L.ActivityRegularization(l1=0.1, l2=0.2), lambda L: L.Dense(2)),
    "RandomFlip": image(lambda L: L.RandomFlip("horizontal", seed=1)),
    "Embedding": words(lambda L: L.GlobalAveragePooling1D()),
    "Embedding mask": _sequential(
        SHAPES["words"], lambda L: L.Embedding(11, 4, mask_zero=True), lambda L: L.LSTM(3), dtype="int32"
    ),
    "Masking": sequence(lambda L: L.Masking(0.5), lambda L: L.SimpleRNN(2)),
    **_recurrent("SimpleRNN"),
    **_recurrent("LSTM"),
    **_recurrent("GRU"),
    "GRU reset before": sequence(lambda L: L.GRU(3, reset_after=False)),
    "Bidirectional": sequence(lambda L: L.Bidirectional(L.LSTM(3), merge_mode="sum", backward_layer=None)),
    "TimeDistributed": sequence(lambda L: L.TimeDistributed(L.Dense(3, "relu"))),
    "TimeDistributed model": sequence(lambda L: L.TimeDistributed(_KEPT[L]([L.Input((4,)), L.Dense(3), L.Dense(2)]))),
    "MultiHeadAttention": _merge(lambda L, x: L.MultiHeadAttention(2, 3)(x[0], x[1]), ((5, 4), (6, 4))),
    "Attention": _merge(lambda L, x: L.Attention(use_scale=True)(x), ((5, 4), (6, 4))),
    "Concatenate": _merge(lambda L, x: L.Concatenate()(x), ((6,), (3,))),
    "Add": _merge(lambda L, x: L.Dense(2)(L.Add()(x))),
    "Subtract": _merge(lambda L, x: L.Subtract()(x)),
    "Multiply": _merge(lambda L, x: L.Multiply()(x)),
    "Average": _merge(lambda L, x: L.Average()(x)),
    "Maximum": _merge(lambda L, x: L.Maximum()(x)),
    "Minimum": _merge(lambda L, x: L.Minimum()(x)),
    "Dot": _merge(lambda L, x: L.Dot(axes=1, normalize=True)(x)),
    "Model shared": _shared,
    "Model of operations": _operations,
    "Sequential nested": flat(lambda L: _KEPT[L]([L.Dense(3, "relu"), L.Dense(2)]), lambda L: L.Dense(1)),
}
_KEPT = {}  # the layers module -> Sequential of the same package


def build(name, K):
    """The model of an entry, its weights drawn from one stream: the same in both packages."""
    _KEPT[K.layers] = K.Sequential
    model = MODELS[name](K)
    rng = np.random.default_rng(len(name))
    model.set_weights(
        [rng.uniform(0.1, 0.9, w.shape).astype(w.dtype) - 0.3 * (w.ndim > 1) for w in model.get_weights()]
    )
    return model


def inputs(model):
    """Data for a model of either package."""
    rng = np.random.default_rng(7)
    made = []
    for t in model.inputs:
        shape = (4, *t.shape[1:])
        integers = "int" in str(t.dtype)
        made.append(rng.integers(0, 11, shape).astype("int32") if integers else rng.uniform(-1, 2, shape).astype("f"))
        if shape[1:] == SHAPES["sequence"]:
            made[-1][:, 3:] = 0.0  # steps that Masking leaves out
    return made if len(made) > 1 else made[0]


def names(layers):
    """The entries whose layer a package has."""
    return [name for name in MODELS if name.split()[0] in ("Model", "Sequential") or hasattr(layers, name.split()[0])]
