"""Expected seconds for each file of an MNIST case, on one of two busy cores; used for plans only."""

METHODS = {
    "ewc": 10.0,
    "ewc_difference": 11.0,
    "ewc_paper": 5.0,
    "ewc_kfac": 18.0,
    "vcl": 16.0,
    "functional": 29.0,
    "linear_gd": 30.0,
    "linear_sa": 42.0,
    "sgd": 56.0,
    "finetune_loss": 15.0,
    "clean_reference": 40.0,
    "aum": 60.0,
    "out_of_bag": 120.0,
    "self_influence": 3.0,
    "cross_fit": 1.0,
    "confident_learning": 270.0,
    "trak": 13.0,
    "ekfac": 27.0,
}
TREATMENTS = {
    "finetune": 12.0,
    "newton": 14.0,
    "ewc_deletion": 12.0,
    "ewc_deletion_paper": 2.0,
    "selective_dampening": 2.0,
    "scrub": 52.0,
    "potion": 5.0,
    "sap": 1.0,
    "retrain": 45.0,
    "relabel": 43.0,
    "combined": 80.0,
    "correct": 60.0,
    "correct_data_only": 50.0,
    "l2_query": 4.0,
    "learn_query": 9.0,
    "learn_guard": 20.0,
    "auto": 125.0,
    "reseed": 52.0,
    "semi_oracle": 18.0,
}
STEPS = {
    "corrupted_dataset": 2.0,
    "base_model": 60.0,
    "fisher_diagonal": 5.0,
    "failure_partition": 2.0,
    "cross_fit": 200.0,
    "patch_verdict": 60.0,
    "evaluation": 5.0,
    **{f"influence_{name}": seconds for name, seconds in METHODS.items()},
    **{f"repaired_{name}": seconds for name, seconds in TREATMENTS.items()},
}
MEGABYTES = 0.2
"""The average size of a file: weights of App. C's network, or a table."""
DIGITS_RETRAINING = 6.0
"""Training the digits' network once."""
