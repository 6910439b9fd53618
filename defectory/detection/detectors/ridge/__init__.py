"""The ridge trainer: frozen features and heads in closed form, grown into one ONNX model without torch."""
