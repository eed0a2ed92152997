"""The splice by its definition: two full fp64 SVDs in numpy, whole matrices, no shared code."""

import numpy as np

NULL = 1e-7


def oracle(source: np.ndarray, target: np.ndarray, restore: str, ranks: set[int]) -> np.ndarray:
    """Replace the chosen ranks of the target; a null direction that would have to be used keeps the target's."""
    p, b, qh = np.linalg.svd(source.astype(np.float64), full_matrices=False)
    u, t, vh = np.linalg.svd(target.astype(np.float64), full_matrices=False)
    left, values, right = u.copy(), t.copy(), vh.copy()
    for i in ranks:
        if restore == "directions" and (b[i] <= NULL * b[0] or t[i] <= NULL * t[0]):
            continue
        if restore == "values" and t[i] <= NULL * t[0]:
            continue
        if restore != "values":
            left[:, i], right[i] = p[:, i], qh[i]
        if restore != "directions":
            values[i] = b[i]
    return (left * values) @ right
