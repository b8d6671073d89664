"""The network of the clock plane: topologies, fair sharing of links, collectives. No tensors."""
