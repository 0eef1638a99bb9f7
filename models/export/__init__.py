"""Export to ONNX, NIR, C and the page's engine, each compared with the network; import of NIR graphs."""
