"""Scenes as one would paste them with Pillow, step for step what Defectory's compositor does, on whole pictures.

A background, objects with size, mirror, light of their place, a cast and a contact shadow; visible masks, boxes, run
lengths, what is hardly seen left out; tone, blur, vignette and noise of a camera at the end.
"""

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter


def runs_of(mask):
    column = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(column)) + 1
    lengths = np.diff(np.concatenate([[0], edges, [column.size]])).tolist()
    return [0, *lengths] if column[0] else lengths


def compose(background, objects, rng):
    """``background`` RGB; ``objects`` from the back to the front: (RGBA, left, top, width, height)."""
    canvas = background.copy()
    width, height = canvas.size
    pasted = []
    for picture, left, top, wide, high in objects:
        sprite = picture.resize((wide, high), Image.Resampling.BILINEAR)
        if rng.random() < 0.5:
            sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        whole = Image.new("RGBA", canvas.size)
        whole.paste(sprite, (left, top))
        pasted.append((whole, np.asarray(sprite)[..., 3], (left, top, wide, high)))
    covered = np.zeros((height, width), bool)
    visible = []
    for whole, alpha, _ in reversed(pasted):
        mask = (np.asarray(whole)[..., 3] > 127) & ~covered
        if mask.sum() < 0.25 * (alpha > 127).sum():
            visible.append(None)
            continue
        covered |= mask
        visible.append(mask)
    labels = []
    for (whole, _, (left, top, wide, high)), mask in zip(pasted, visible[::-1], strict=True):
        if mask is None:
            continue
        place = canvas.crop((max(left, 0), max(top, 0), min(left + wide, width), min(top + high, height)))
        level = np.asarray(place).mean()
        lit = ImageEnhance.Brightness(whole.convert("RGB")).enhance((level / 128) ** 0.4 * rng.uniform(0.85, 1.15))
        alpha = whole.getchannel("A")
        low = top + high
        shadow = alpha.transform(
            canvas.size, Image.Transform.AFFINE, (1, 0.8, -0.8 * low, 0, 5, -4 * low), Image.Resampling.BILINEAR
        ).filter(ImageFilter.GaussianBlur(max(high * 0.04, 1)))
        touch = Image.new("L", canvas.size)
        ImageDraw.Draw(touch).ellipse((left, low - wide // 6, left + wide, low + wide // 12), fill=255)
        touch = touch.filter(ImageFilter.GaussianBlur(max(wide * 0.06, 1)))
        for shade, strength in ((shadow, 0.3), (touch, 0.5)):
            light = shade.point(lambda value, strength=strength: int(255 - value * strength))
            canvas = ImageChops.multiply(canvas, Image.merge("RGB", [light] * 3))
        canvas = Image.composite(lit, canvas, alpha)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
        labels.append((box, runs_of(mask), int(mask.sum())))
    canvas = ImageEnhance.Contrast(ImageEnhance.Brightness(canvas).enhance(rng.uniform(0.8, 1.2))).enhance(1.05)
    canvas = canvas.filter(ImageFilter.GaussianBlur(0.6))
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    levels = np.asarray(canvas, np.float32) * (1 - 0.2 * ((x * x + y * y) / 2))[..., None]
    levels += rng.normal(0, 3, levels.shape)
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)), labels
