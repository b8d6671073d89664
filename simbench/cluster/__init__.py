"""The machines of the clock plane: how long a step takes, and on which node. No tensors."""
