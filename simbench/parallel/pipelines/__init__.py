"""Orders of a pipeline's work; a new file here is a new ``parallel.pipeline.kind``."""
