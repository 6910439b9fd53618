"""Layouts sampled and converted by Defectory, as a stream: layouts.jsonl, coco.json and, with rows of YOLO, yolo.jsonl.

python -m benchmarks.peers.defectory_layouts COUNT WORKERS
"""

import sys
from pathlib import Path

from defectory.detection.coco import writing_coco
from defectory.detection.layouts.presets import load_preset
from defectory.detection.layouts.sampler import sample_chunks


def main():
    count, workers = map(int, sys.argv[1:])
    preset = load_preset("housekeeping")
    with (
        Path("layouts.jsonl").open("wb") as layouts,
        Path("yolo.jsonl").open("wb") as yolo,
        writing_coco(Path("coco.json"), preset.labels, "layouts") as coco,
    ):
        for chunk in sample_chunks(preset, count, with_labels=True, workers=workers):
            layouts.write(chunk.lines)
            coco.add(chunk.labels.images, chunk.labels.annotations)
            yolo.write(chunk.labels.yolo)


if __name__ == "__main__":
    main()
