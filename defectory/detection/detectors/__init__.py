"""Detectors: one contract for ONNX models, the bundle that they are kept in, and their trainers."""
