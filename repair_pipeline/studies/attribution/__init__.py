"""The study ``attribution``: the field's benchmarks, the linear datamodelling score and brittleness."""
