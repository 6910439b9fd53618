"""Layouts sampled and converted as one would write it at first: a loop over scenes, dictionaries, the standard library.

The same world as the preset (it reads the same file), the same rules: classes, numbers, sizes under a camera, what goes
together and beside, six candidates for a place, rare events.  Writes layouts.jsonl, coco.json and, with rows of YOLO,
yolo.jsonl.

python -m benchmarks.peers.plain_layouts COUNT [PRESET]
"""

import bisect
import itertools
import json
import random
import sys
from pathlib import Path

import yaml

PRESETS = Path(__file__).parents[2] / "defectory/detection/layouts/presets.yaml"
OVERLAP = {"none": (0.0, 0.05), "partial": (0.08, 0.45), "heavy": (0.35, 0.7)}
SIDE = 512


def pick(weights):
    names = list(weights)
    cumulative = list(itertools.accumulate(weights.values()))
    return names[min(bisect.bisect(cumulative, random.random() * cumulative[-1]), len(names) - 1)]


def overlap(first, second):
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(first[2] * first[3], second[2] * second[3])


def candidate(plan, metres, aspect, size, view, focal, truncated):
    low, high = size
    pixels = low * (high / low) ** random.random() * SIDE
    cut = random.random() < truncated
    nearest = (SIDE - view["horizon"]) / view["height_m"] * (random.uniform(1, 1.7) if cut else random.uniform(0.75, 1))
    scale = min(pixels / metres, nearest)
    foot = view["horizon"] + scale * view["height_m"]
    if plan.get("place") == "lies":
        width = metres * scale
        height = max(width * aspect * min(max((foot - view["horizon"]) / focal, 0.1), 1.0), 6)
    else:
        height = metres * scale
        width = height * aspect
    if cut:
        left = random.uniform(-0.45 * width, SIDE - 0.55 * width)
    else:
        left = random.random() * max(SIDE - width, 0) + min(SIDE - width, 0) / 2
    return [left, foot - height, width, height], scale


def beside(rule, plan, metres, aspect, anchor, view):
    foot = anchor[1] + anchor[3] - random.uniform(-0.15, 0.9) * min(anchor[3], 40)
    scale = (max(foot, view["horizon"] + 8) - view["horizon"]) / view["height_m"]
    height = metres * scale
    width = height * aspect
    gap = random.uniform(*rule["distance_m"]) * scale
    left = anchor[0] - gap - width if random.random() < 0.5 else anchor[0] + anchor[2] + gap
    return [left, foot - height, width, height], scale


def sample(preset, number):
    event, drawn = None, random.random()
    for rare in preset.get("events", []):
        drawn -= rare["rate"]
        if drawn < 0:
            event = rare
            break
    conditions = {name: pick(preset[name]) for name in ("light", "camera", "occlusion")}
    conditions["event"] = event["name"] if event else ""
    conditions.update({name: event[name] for name in conditions if event and name in event and name != "event"})
    view = {
        "horizon": round(random.uniform(*preset["view"]["horizon"]) * SIDE, 1),
        "height_m": round(random.uniform(*preset["view"]["height_m"]), 2),
        "fov": round(random.uniform(*preset["view"]["fov"]), 1),
    }
    focal = SIDE / 2 / 0.65
    counts = {}
    for label, plan in preset["classes"].items():
        counts[label] = pick(plan["number"]) if random.random() < plan["share"] else 0
    for rule in preset.get("together", []):
        if counts[rule["present"]] and not counts[rule["label"]] and random.random() < rule["share"]:
            counts[rule["label"]] += 1
    if random.random() < preset["empty"]:
        counts = dict.fromkeys(counts, 0)
    if event:
        counts.update(event.get("number", {}))
    labels = [label for label, count in counts.items() for _ in range(count)]
    random.shuffle(labels)
    low, high = OVERLAP[conditions["occlusion"]]
    placed = []

    def place(label, around=None, rule=None):
        plan = preset["classes"][label]
        metres, aspect = random.uniform(*plan["height_m"]), random.uniform(*plan["aspect"])
        size = (event or {}).get("size", plan["size"])
        least = low if random.random() < 0.5 and placed else 0.0
        best, best_miss = None, None
        for _ in range(6):
            if around is None:
                box, scale = candidate(plan, metres, aspect, size, view, focal, preset["truncated"])
            else:
                box, scale = beside(rule, plan, metres, aspect, around, view)
            most = max((overlap(box, other[1]) for other in placed), default=0.0)
            miss = max(least - most, most - high, 0)
            if best_miss is None or miss < best_miss:
                best, best_miss = (label, box, scale), miss
        placed.append(best)

    for label in labels:
        place(label)
    for rule in preset.get("beside", []):
        for label, box, _ in list(placed):
            if label == rule["of"] and random.random() < rule["share"]:
                place(rule["label"], box, rule)
    placed.sort(key=lambda item: (preset["classes"][item[0]].get("place") != "lies", item[1][1] + item[1][3]))
    objects = []
    for label, box, scale in placed:
        box = [round(value, 1) for value in box]
        if box[0] >= SIDE or box[1] >= SIDE or box[0] + box[2] <= 0 or box[1] + box[3] <= 0:
            continue
        lies = preset["classes"][label].get("place") == "lies"
        tilt = random.choice([-90, 90]) if event and label in event.get("tilted", ()) else 0
        objects.append(
            {
                "label": label,
                "box": box,
                "wears": [],
                "worn_by": None,
                "px_per_m": None if lies else round(scale, 2),
                "tilt": tilt,
            }
        )
    background = pick(preset["backgrounds"])
    words = ", ".join(item["label"].replace("_", " ") for item in objects) or "nobody"
    return {
        "image_id": f"housekeeping-train-0-{number:06}",
        "size": [SIDE, SIDE],
        "objects": objects,
        "background": background,
        "prompt": f"A photo of a {background}, {conditions['light']} light, with {words}",
        "seed": random.getrandbits(62),
        "conditions": conditions,
        "view": view,
    }


def main():
    count, name = int(sys.argv[1]), (sys.argv[2:] or ["housekeeping"])[0]
    random.seed(0)
    preset = yaml.safe_load(PRESETS.read_text())[name]
    classes = [label for label, plan in preset["classes"].items() if not plan.get("context")]
    layouts = [sample(preset, number) for number in range(count)]
    with Path("layouts.jsonl").open("w") as stream:
        for layout in layouts:
            stream.write(json.dumps(layout) + "\n")
    coco = {"images": [], "annotations": [], "categories": [{"id": n, "name": c} for n, c in enumerate(classes, 1)]}
    with Path("yolo.jsonl").open("w") as stream:
        for number, layout in enumerate(layouts, 1):
            width, height = layout["size"]
            coco["images"].append({"id": number, "file_name": layout["image_id"], "width": width, "height": height})
            rows = []
            for item in layout["objects"]:
                if item["label"] not in classes:
                    continue
                left, top, wide, high = item["box"]
                right, bottom = min(left + wide, width), min(top + high, height)
                left, top = max(left, 0), max(top, 0)
                box = [left, top, round(right - left, 1), round(bottom - top, 1)]
                code = classes.index(item["label"])
                coco["annotations"].append(
                    {
                        "id": len(coco["annotations"]) + 1,
                        "image_id": number,
                        "category_id": code + 1,
                        "bbox": box,
                        "area": round(box[2] * box[3], 2),
                        "iscrowd": 0,
                    }
                )
                shares = (left + box[2] / 2) / width, (top + box[3] / 2) / height, box[2] / width, box[3] / height
                rows.append(f"{code} " + " ".join(f"{share:.6f}" for share in shares))
            stream.write(
                json.dumps({"image_id": layout["image_id"], "rows": "".join(row + "\n" for row in rows)}) + "\n"
            )
    Path("coco.json").write_text(json.dumps(coco))


if __name__ == "__main__":
    main()
