"""Splitting the model: how long a step of several devices takes that work as one. No tensors."""
