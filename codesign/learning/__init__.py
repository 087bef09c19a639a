"""Learning: torch and snntorch modules → integer networks, trained so that little is lost.

- `codesign.learning.tracing` records one run of a module, whatever its ``forward`` does;
- `codesign.learning.folding` finds the time loop in it;
- `codesign.learning.lowering` makes a `NetworkGraph` of it, or says what cannot be lowered;
- `codesign.learning.quantization` carries integer codes in torch tensors, with gradients;
- `codesign.learning.training` trains, and keeps what was trained.
"""
