"""A model as one ONNX file, and its card."""
