"""Export to ONNX, torch.export and NIR, each file compared with the network; import from other libraries. `formats` and
`parity`; NIR: `nir_writer`, `nir_graph`, `nir_network`, `nir_state`; import: `importing`, `jelly`.
"""
