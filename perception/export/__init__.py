"""Models as files that run without this library: ONNX, AOTInductor packages, TensorRT engines."""
