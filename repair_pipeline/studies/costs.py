"""What a file of an MNIST case is expected to take, in seconds on one of two busy cores."""

METHODS = {
    "ewc": 15.0,
    "ewc_paper": 15.0,
    "ewc_kfac": 30.0,
    "linear_gd": 60.0,
    "linear_sa": 60.0,
    "sgd": 60.0,
    "finetune_loss": 12.0,
    "clean_reference": 30.0,
    "self_influence": 5.0,
    "confident_learning": 200.0,
    "trak": 20.0,
    "ekfac": 25.0,
}
TREATMENTS = {
    "finetune": 25.0,
    "newton": 60.0,
    "ewc_deletion": 15.0,
    "selective_dampening": 3.0,
    "scrub": 20.0,
    "retrain": 50.0,
    "relabel": 40.0,
    "combined": 40.0,
    "l2_query": 10.0,
    "learn_query": 12.0,
    "learn_guard": 12.0,
    "auto": 120.0,
    "reseed": 50.0,
    "semi_oracle": 25.0,
}
STEPS = {
    "corrupted_dataset": 2.0,
    "base_model": 50.0,
    "fisher_diagonal": 5.0,
    "failure_partition": 4.0,
    **{f"influence_{name}": seconds for name, seconds in METHODS.items()},
    **{f"repaired_{name}": seconds for name, seconds in TREATMENTS.items()},
}
