"""simbench: which way of synchronising workers reaches a target loss first?

Real gradients of a real PyTorch model, on a virtual clock kept by a SimPy model of machines and
network. The folders are the table of contents; ``docs/design/architecture.md`` explains them.
"""

__version__ = "0.1.0"
