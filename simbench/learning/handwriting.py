"""Handwritten digits, 8 x 8 pixels: 1,797 real images that scikit-learn brings along."""

import functools
import hashlib

import numpy as np

PIXELS = 64
CLASSES = 10
_EVERY = 5
"""Every fifth image is held out."""


@functools.cache
def images(held_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return (count, 64) pixels from 0 to 1, row by row, and the (count,) digits.

    Source:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
        Repository, 1998, as ``sklearn.datasets.load_digits`` holds it.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow, and for these data alone

    pixels, digits = load_digits(return_X_y=True)
    chosen = (np.arange(len(digits)) % _EVERY == _EVERY - 1) == held_out
    return pixels[chosen] / 16, digits[chosen].astype(np.int64)


def content() -> str:
    """Return the SHA-256 of all images and digits."""
    digest = hashlib.sha256()
    for part in (*images(held_out=False), *images(held_out=True)):
        digest.update(part.tobytes())
    return digest.hexdigest()
