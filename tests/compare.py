"""What 'equal' means: shape and dtype first, then values, with NaN and Inf in their places."""

import numpy as np


def assert_close(got, expected, *, scale=1.0, ulp=None):
    """|got - expected| <= scale * (1e-5 + 1.3e-6 |expected|) for float32, and 1e-12 + 1e-12 |expected| for float64.

    A check that NaN fails: wherever expected is finite, got must be too. ulp: allow so many units in the last place
    instead.
    """
    got, expected = (x.get() if hasattr(x, "get") else np.asarray(x) for x in (got, expected))  # of a GPU: get()
    assert got.shape == expected.shape, f"shape {got.shape}, expected {expected.shape}"
    assert got.dtype == expected.dtype, f"dtype {got.dtype}, expected {expected.dtype}"
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected)
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite])
    if ulp is not None:
        bound = ulp * np.spacing(np.abs(expected[finite]))
    else:
        absolute, relative = (1e-5, 1.3e-6) if got.dtype == np.float32 else (1e-12, 1e-12)
        bound = scale * (absolute + relative * np.abs(expected[finite].astype(np.float64)))
    error = np.abs(got[finite].astype(np.float64) - expected[finite].astype(np.float64))
    worst = np.argmax(error - bound) if error.size else 0
    assert error.size == 0 or np.all(error <= bound), (
        f"error {error[worst]} > {bound[worst]} at element {worst}: "
        f"{got[finite][worst]}, expected {expected[finite][worst]}"
    )


def gradcheck(f, *arrays, eps=1e-6, rtol=1e-3, atol=1e-5):
    """Holds the tape's gradients of sum(weights * f(*arrays)) to central differences, in float64, over all elements.

    The weights are random, so that a gradient that ignores dy is found.
    """
    import nnfast

    arrays = [np.array(a, np.float64) for a in arrays]
    variables = [nnfast.Variable(a) for a in arrays]
    y = f(*variables)
    weights = np.random.default_rng(7).uniform(0.5, 1.5, y.shape)
    with nnfast.GradientTape() as tape:
        y = f(*variables)
    grads = tape.gradient(y, variables, output_gradients=weights)
    for number, (a, g) in enumerate(zip(arrays, grads)):
        assert g is not None, f"input {number} has no gradient"
        assert g.shape == a.shape and g.dtype == a.dtype, f"input {number}: gradient {g.shape} {g.dtype}"
        for index in np.ndindex(a.shape):
            values = []
            for step in (eps, -eps):
                moved = [x.copy() for x in arrays]
                moved[number][index] += step
                with nnfast.no_grad():
                    values.append(float((weights * np.asarray(f(*moved))).sum()))
            numeric, exact = (values[0] - values[1]) / (2 * eps), float(g.data[index])
            assert abs(exact - numeric) <= atol + rtol * abs(numeric), (
                f"input {number}, element {index}: tape {exact}, difference quotient {numeric}"
            )
