"""The trainers of detection transformers, D-FINE and RF-DETR, by gradients: they need the extra ``torch``."""
