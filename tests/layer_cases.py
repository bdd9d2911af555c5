"""One table of layers as users make them: for Keras itself (test_keras.py) and for the numbers that it gave.

`tools/make_layer_numbers.py` computes tests/data/layer_numbers.json with Keras 3.15.1; inputs and weights are waves, so
the file holds nothing but results.
"""

import numpy as np

import nnfast

FUNCTIONS = sorted(nnfast.activations._TABLE)
IMAGE = (9, 8, 4)
STEPS = (9, 4)
CASES = [
    ("Dense", (5,), {"units": 3, "activation": "softmax", "activity_regularizer": "l2", "kernel_regularizer": "l1"}),
    ("Dense", (2, 5), {"units": 3, "activation": "relu", "bias_initializer": "ones", "bias_regularizer": "l2"}),
    ("Conv2D", IMAGE, {"filters": 6, "kernel_size": (3, 2), "strides": 2, "padding": "same", "groups": 2}),
    (
        "Conv2D",
        IMAGE,
        {"filters": 6, "kernel_size": 3, "dilation_rate": (2, 1), "padding": "same", "activation": "elu"},
    ),
    ("Conv2D", IMAGE, {"filters": 6, "kernel_size": 3, "dilation_rate": (2, 1), "activity_regularizer": "l1"}),
    ("MaxPooling2D", IMAGE, {"pool_size": (3, 2), "strides": 2, "padding": "same"}),
    ("AveragePooling2D", IMAGE, {"pool_size": (3, 2), "strides": 2, "padding": "same"}),
    ("AveragePooling2D", IMAGE, {"pool_size": (3, 2)}),
    ("GlobalMaxPooling2D", IMAGE, {"keepdims": True}),
    ("Conv1D", STEPS, {"filters": 6, "kernel_size": 3, "padding": "causal", "dilation_rate": 2, "activation": "relu"}),
    ("Conv1D", STEPS, {"filters": 6, "kernel_size": 4, "strides": 2, "padding": "same", "groups": 2}),
    ("Conv1D", STEPS, {"filters": 6, "kernel_size": 4, "strides": 2, "bias_initializer": "ones"}),
    ("DepthwiseConv2D", IMAGE, {"kernel_size": 3, "depth_multiplier": 2, "padding": "same", "activation": "tanh"}),
    ("DepthwiseConv2D", IMAGE, {"kernel_size": (2, 3), "strides": 2, "depthwise_regularizer": "l2"}),
    ("SeparableConv2D", IMAGE, {"filters": 5, "kernel_size": 3, "depth_multiplier": 2, "activation": "elu"}),
    ("SeparableConv2D", IMAGE, {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same", "use_bias": False}),
    *(
        ("Conv2DTranspose", IMAGE, {"filters": 5, "kernel_size": k, "strides": s, "padding": p, **more})
        for p in ("valid", "same")
        for k, s, more in (
            (3, 1, {}),
            (3, 2, {"activation": "relu", "bias_initializer": "ones"}),
            ((2, 4), 2, {"output_padding": 1}),
            ((1, 5), (3, 2), {"output_padding": (2, 0)}),
            ((2, 1), 3, {}),
            ((3, 2), 1, {"dilation_rate": (2, 3)}),
        )
    ),
    ("MaxPooling1D", STEPS, {"pool_size": 3, "strides": 2, "padding": "same"}),
    ("MaxPooling1D", STEPS, {}),
    ("AveragePooling1D", STEPS, {"pool_size": 3, "strides": 2, "padding": "same"}),
    ("GlobalMaxPooling1D", STEPS, {}),
    ("GlobalAveragePooling1D", STEPS, {"keepdims": True}),
    ("ZeroPadding2D", IMAGE, {"padding": ((1, 2), (0, 3))}),
    ("Cropping2D", IMAGE, {"cropping": (1, 2)}),
    ("UpSampling2D", IMAGE, {"size": (2, 3)}),
    ("UpSampling2D", IMAGE, {"size": (3, 2), "interpolation": "bilinear"}),
    ("RepeatVector", (5,), {"n": 3}),
    ("SpatialDropout2D", IMAGE, {"rate": 0.5}),
    ("GaussianNoise", (5,), {"stddev": 0.5}),
    ("Dropout", (5,), {"rate": 0.5, "noise_shape": (None, 1)}),
    ("ActivityRegularization", (5,), {"l1": 0.1, "l2": 0.2}),
    ("Normalization", (5,), {"mean": [1.0, 2.0, 3.0, 4.0, 5.0], "variance": [1.0, 2.0, 3.0, 4.0, 5.0]}),
    ("Normalization", (3, 5), {"axis": [1, 2], "mean": 1.0, "variance": 2.0, "invert": True}),
    ("GlobalAveragePooling2D", IMAGE, {}),
    ("BatchNormalization", (5,), {"epsilon": 0.1, "gamma_regularizer": "l2", "moving_mean_initializer": "ones"}),
    ("BatchNormalization", IMAGE, {"axis": 1, "scale": False}),
    ("LayerNormalization", IMAGE, {"gamma_initializer": "he_normal"}),
    ("LayerNormalization", IMAGE, {"axis": [1, 3], "epsilon": 0.1}),
    ("ReLU", (5,), {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}),
    ("LeakyReLU", (5,), {}),
    ("PReLU", (4, 3, 2), {"shared_axes": [1], "alpha_initializer": "ones"}),
    ("ELU", (5,), {"alpha": 0.3}),
    ("Softmax", (5, 3), {"axis": 1}),
    ("Softmax", (5, 3), {"axis": [1, 2]}),
    ("Flatten", (3, 4, 5), {}),
    ("Reshape", (3, 4), {"target_shape": (2, -1)}),
    ("Permute", (3, 4), {"dims": (2, 1)}),
    ("Rescaling", (3,), {"scale": 2.0, "offset": 1.0}),
    *(("Activation", (5,), {"activation": name}) for name in FUNCTIONS),
]


def wave(shape, phase=0.0):
    """Numbers from -2 to 2 that any machine makes alike."""
    return (2 * np.sin(1.7 * np.arange(np.prod(shape, dtype=int)) + phase)).reshape(shape).astype("float32")


def weights(names_and_shapes):
    """A value for each weight; variances are positive, counts are 0."""
    values = []
    for i, (name, shape) in enumerate(names_and_shapes):
        value = wave(shape, i + 1.0)
        values.append(np.abs(value) + 0.5 if "variance" in name else value * 0 if name == "count" else value / 2)
    return values


def some(y):
    """At most 12 numbers of a result, and its mean."""
    flat = np.asarray(y, "float64").ravel()
    return [*flat[:: max(1, -(-flat.size // 12))].tolist(), float(flat.mean())]
