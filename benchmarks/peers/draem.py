"""Peer: anomalies as DRAEM simulates them (Zavrtanik, Kristan and Skocaj, "DRAEM", 2021).

Perlin noise, turned and cut at a level, says where; a texture in other colours, blended in, says what.  With NumPy,
OpenCV and Pillow instead of imgaug; the textures are photos handed in instead of the Describable Textures Dataset.
"""

import math

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageOps


def draem(image, textures, rng):
    """``image`` with an anomaly of one of ``textures``, and its mask; an empty mask is drawn anew."""
    height, width = image.shape[:2]
    texture = _augmented(cv2.resize(textures[int(rng.integers(len(textures)))], (width, height)), rng)
    mask = np.zeros((height, width), np.float32)
    while not mask.any():
        scale_x, scale_y = (2 ** int(rng.integers(0, 6)) for _ in range(2))
        noise = _turned(perlin((height, width), (scale_x, scale_y), rng), rng.uniform(-90, 90))
        mask = (noise > 0.5).astype(np.float32)
    beta = rng.uniform(0, 0.8)
    where = mask[..., None]
    blended = image * (1 - where) + (1 - beta) * texture * where + beta * image * where
    return blended.astype(np.uint8), (mask * 255).astype(np.uint8)


def perlin(shape, res, rng):
    """Perlin noise (1985) by the vectorised implementation that DRAEM's authors use."""
    delta = res[0] / shape[0], res[1] / shape[1]
    d = math.ceil(shape[0] / res[0]), math.ceil(shape[1] / res[1])
    grid = np.mgrid[0 : res[0] : delta[0], 0 : res[1] : delta[1]].transpose(1, 2, 0) % 1
    angles = 2 * np.pi * rng.random((res[0] + 1, res[1] + 1))
    gradients = np.stack((np.cos(angles), np.sin(angles)), axis=-1)

    def tiled(rows, columns):
        return np.repeat(np.repeat(gradients[rows, columns], d[0], axis=0), d[1], axis=1)[: shape[0], : shape[1]]

    def dot(gradient, shift):
        moved = np.stack((grid[: shape[0], : shape[1], 0] + shift[0], grid[: shape[0], : shape[1], 1] + shift[1]), -1)
        return (moved * gradient).sum(axis=-1)

    n00 = dot(tiled(slice(0, -1), slice(0, -1)), (0, 0))
    n10 = dot(tiled(slice(1, None), slice(0, -1)), (-1, 0))
    n01 = dot(tiled(slice(0, -1), slice(1, None)), (0, -1))
    n11 = dot(tiled(slice(1, None), slice(1, None)), (-1, -1))
    t = 6 * grid**5 - 15 * grid**4 + 10 * grid**3
    t = t[: shape[0], : shape[1]]
    low, high = n00 + t[..., 0] * (n10 - n00), n01 + t[..., 0] * (n11 - n01)
    return math.sqrt(2) * (low + t[..., 1] * (high - low))


def _augmented(texture, rng):
    """Three of the paper's nine changes."""
    changes = (
        lambda p: p.point([round(255 * (level / 255) ** gamma) for level in range(256)] * 3),
        lambda p: ImageEnhance.Brightness(p).enhance(rng.uniform(0.8, 1.2)),
        lambda p: ImageEnhance.Sharpness(p).enhance(rng.uniform(1, 3)),
        lambda p: ImageEnhance.Color(p).enhance(rng.uniform(0.5, 1.5)),
        lambda p: ImageOps.solarize(p, int(rng.integers(32, 128))),
        lambda p: ImageOps.posterize(p, int(rng.integers(2, 8))),
        ImageOps.invert,
        ImageOps.autocontrast,
        ImageOps.equalize,
    )
    gamma = rng.uniform(0.5, 2.0)
    picture = Image.fromarray(texture)
    for number in rng.choice(len(changes), 3, replace=False):
        picture = changes[number](picture)
    return np.asarray(picture)


def _turned(noise, degrees):
    height, width = noise.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(noise, matrix, (width, height))
