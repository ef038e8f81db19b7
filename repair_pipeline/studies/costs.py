"""What a file of an MNIST case is expected to take, in seconds on one core of two."""

SECONDS = {
    "base_model": 60.0,
}
