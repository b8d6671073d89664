"""The math plane's engine: Values named by keys, evaluated by pure operations.

It knows nothing of training.

A Value is a promise. Its recipe names an operation and the recipes of its inputs; its key is the
hash of exactly that. An executor turns recipes into results when somebody asks for their number.
"""
