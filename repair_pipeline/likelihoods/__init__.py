"""p(z|θ) of a task, one likelihood a file: what a model's outputs say of every class."""
