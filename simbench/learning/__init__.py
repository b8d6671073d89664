"""The math plane: tensors and never a time. Models, data and the pure operations on them."""
