"""A model of these tests that paints layouts: a disk in each box; what has no object is withheld."""

import base64
import io
import json

from PIL import Image, ImageDraw


def model_fn(model_dir):
    return None


def input_fn(body, content_type):
    return json.loads(body)


def predict_fn(request, model):
    layout = request["layout"]
    answer = {"image_id": request["image_id"], "image": None, "withheld": not layout["objects"], "error": None}
    if answer["withheld"]:
        return answer
    if layout["prompt"] == "impossible":
        return {**answer, "error": "no memory"}
    picture = Image.new("RGB", tuple(layout["size"]), "grey")
    for item in layout["objects"]:
        left, top, width, height = item["box"]
        ImageDraw.Draw(picture).ellipse((left, top, left + width, top + height), fill="orange")
    content = io.BytesIO()
    picture.save(content, "PNG")
    return {**answer, "image": base64.b64encode(content.getvalue()).decode()}


def output_fn(answer, accept):
    return json.dumps(answer), accept
