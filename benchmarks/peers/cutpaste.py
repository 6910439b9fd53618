"""Peer: CutPaste and CutPaste-Scar (Li et al., "CutPaste: Self-Supervised Learning for Anomaly Detection", 2021).

With Pillow and the paper's parameters, as its usual implementations do it.  The mask is where the patch was pasted.
"""

import math

import numpy as np
from PIL import Image, ImageEnhance


def cutpaste(image, rng):
    """A rectangle of 2 to 15 % of the image, its colours jittered, pasted elsewhere."""
    picture = Image.fromarray(image)
    width, height = picture.size
    area = rng.uniform(0.02, 0.15) * width * height
    aspect = math.exp(rng.uniform(math.log(0.3), math.log(3.3)))
    w = min(width - 1, round(math.sqrt(area * aspect)))
    h = min(height - 1, round(math.sqrt(area / aspect)))
    patch = _jittered(_cut(picture, w, h, rng), rng)
    mask = Image.new("L", picture.size)
    place = int(rng.integers(width - w)), int(rng.integers(height - h))
    picture.paste(patch, place)
    mask.paste(255, (*place, place[0] + w, place[1] + h))
    return np.asarray(picture), np.asarray(mask)


def cutpaste_scar(image, rng):
    """A strip of 2 to 16 by 10 to 25 pixels of an image of 256, jittered and turned by up to 45 degrees."""
    picture = Image.fromarray(image)
    scale = min(picture.size) / 256
    w, h = round(rng.uniform(2, 16) * scale), round(rng.uniform(10, 25) * scale)
    patch = _jittered(_cut(picture, w, h, rng), rng).convert("RGBA")
    patch = patch.rotate(rng.uniform(-45, 45), expand=True)
    place = int(rng.integers(picture.width - patch.width)), int(rng.integers(picture.height - patch.height))
    mask = Image.new("L", picture.size)
    picture.paste(patch, place, patch.getchannel("A"))
    mask.paste(patch.getchannel("A"), place)
    return np.asarray(picture), np.asarray(mask)


def _cut(picture, w, h, rng):
    left, top = int(rng.integers(picture.width - w)), int(rng.integers(picture.height - h))
    return picture.crop((left, top, left + w, top + h))


def _jittered(patch, rng):
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        patch = change(patch).enhance(rng.uniform(0.9, 1.1))
    return patch
