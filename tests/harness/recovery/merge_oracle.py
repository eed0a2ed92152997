"""Every combination and update filter by its definition, in numpy, element by element where it can be.

S, T, B: a tensor of source, target and base. Nothing is shared with the package.
"""

import hashlib
import math

import numpy as np
import scipy.integrate
import scipy.optimize


def interpolate(s, t, weight):
    return (1 - weight) * t + weight * s


def slerp(s, t, weight):
    cosine = np.sum(s * t) / (np.linalg.norm(s) * np.linalg.norm(t))
    angle = math.acos(cosine)
    return (math.sin((1 - weight) * angle) * t + math.sin(weight * angle) * s) / math.sin(angle)


def lines(s, t, place, weight, last=0.0):
    (layer, layers), alpha, beta = place, 1 - weight, weight - last
    scale = alpha if layer is None else alpha + beta * layer / (layers - 1)
    return s + scale * (t - s)


def soup(s, t, others):
    return np.mean([s, t, *others], axis=0)


def task_arithmetic(s, t, b, weight):
    return b + (t - b) + weight * (s - b)


def trim(vector, density):
    """Zeros for all but the largest; elements of equal size lose from the end."""
    size = np.abs(vector).ravel()
    order = sorted(range(size.size), key=lambda i: (-size[i], i))
    kept = np.zeros(size.size)
    kept[order[: max(1, math.floor(density * size.size))]] = 1
    return vector * kept.reshape(vector.shape)


def elect(vectors, weights, mean):
    out = np.zeros(vectors[0].size)
    for i, values in enumerate(zip(*(v.ravel().tolist() for v in vectors), strict=True)):
        total = sum(w * v for w, v in zip(weights, values, strict=True))
        sign = 1 if total >= 0 else -1
        agree = [(w, v) for w, v in zip(weights, values, strict=True) if w * v * sign > 0]
        if agree:
            out[i] = sum(w * v for w, v in agree) / (sum(w for w, _ in agree) if mean else 1)
    return out.reshape(vectors[0].shape)


def ties(s, t, b, density, *, weight=1.0, scale=1.0):
    return b + scale * elect([trim(t - b, density), trim(s - b, density)], [1, weight], mean=True)


def draws(shape, seed, name, whose):
    key = hashlib.sha256(f"{seed} {whose} {name}".encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little"))).random(shape)


def dare(s, t, b, name, density, *, weight=1.0, seed=0, elects=False):
    kept = [
        np.where(draws(vector.shape, seed, name, whose) < density, vector / density, 0)
        for vector, whose in ((t - b, "target"), (s - b, "source"))
    ]
    if elects:
        return b + elect(kept, [1, weight], mean=False)
    return b + kept[0] + weight * kept[1]


def della(s, t, b, name, density, *, epsilon, weight=1.0, scale=1.0, seed=0):
    kept = []
    for vector, whose in ((t - b, "target"), (s - b, "source")):
        rows = vector.reshape(-1, vector.shape[-1])
        drawn, out = draws(rows.shape, seed, name, whose), np.zeros(rows.shape)
        for i, row in enumerate(rows):
            for rank, j in enumerate(sorted(range(len(row)), key=lambda j: (abs(row[j]), j))):
                p = density - epsilon / 2 + epsilon * rank / (len(row) - 1)
                out[i, j] = row[j] / p if drawn[i, j] < p else 0
        kept.append(out.reshape(vector.shape))
    return b + scale * elect(kept, [1, weight], mean=True)


def kept_ranks(s, t, chosen):
    """S plus some ranks of T - S: `chosen` takes the singular values to a mask."""
    u, d, vh = np.linalg.svd(t - s, full_matrices=False)
    return s + (u * (d * chosen(d))) @ vh


def gavish_donoho(shape):
    """The threshold in multiples of the median singular value, by quadrature and root finding."""
    beta = min(shape) / max(shape)
    low, high = (1 - math.sqrt(beta)) ** 2, (1 + math.sqrt(beta)) ** 2

    def below(x):
        def density(y):
            return math.sqrt(max(0.0, (high - y) * (y - low))) / (2 * math.pi * beta * y)

        return scipy.integrate.quad(density, low, x, limit=200)[0]

    median = float(np.asarray(scipy.optimize.brentq(lambda x: below(x) - 0.5, low + 1e-9, high)))
    omega = math.sqrt(2 * (beta + 1) + 8 * beta / ((beta + 1) + math.sqrt(beta**2 + 14 * beta + 1)))
    return omega / math.sqrt(median)
