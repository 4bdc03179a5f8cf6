"""TensorRT engines: built on the machine that will run them, from an exported ONNX file."""
