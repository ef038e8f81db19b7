"""Schemas of the tables that users query. Each field's description says its unit and sign."""

import pyarrow as pa


def _field(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": description})


_CASE = _field("case_id", pa.string(), "preset name, or name and hash of the spec")
_GROUP = _field("failure_group", pa.string(), "group of failures that is repaired; 'all' if the case has no groups")
_METHOD = _field("method", pa.string(), "influence method")
_POOL = _field(
    "pool", pa.string(), "data_only: only treatments that are not trained on the failures; all: every treatment"
)
_SECONDS = _field("seconds", pa.float64(), "wall-clock time")

_JUDGED = (
    _field(
        "holdout", pa.int64(), "failures used to judge it: those that no earlier case read, or all if there are none"
    ),
    _field("reused", pa.int64(), "earlier cases that read these failures; above 0 the best verdict is recommended"),
    _field("fixed", pa.int64(), "holdout failures that the repair gets right"),
    _field("broken", pa.int64(), "remaining rows that the repair gets wrong"),
    _field(
        "gain", pa.float64(), "change in accuracy on unseen rows, weighted by the share of failures in the test set"
    ),
    _field("gain_low", pa.float64(), "lower end of the paired 95% bootstrap interval of gain"),
    _field("gain_high", pa.float64(), "upper end of that interval"),
    _field(
        "over_control",
        pa.float64(),
        "mean accuracy on unseen rows of the repair's seeds, less that of the controls, which remove random rows",
    ),
    _field("over_control_low", pa.float64(), "lower end of the 95% interval of over_control, over rows and seeds"),
    _field("over_control_high", pa.float64(), "upper end of that interval"),
    _field("detectable", pa.float64(), "over_control that would have been proven with a probability of 0.8"),
    _field("failures_needed", pa.int64(), "held-out failures that would prove over_control so; null if none would"),
    _field("remaining_change", pa.float64(), "change in accuracy on remaining rows; never above 0"),
    _field("remaining_low", pa.float64(), "lower bound of remaining_change"),
    _field("margin", pa.float64(), "share of remaining rows that the repair must be shown to break less of"),
    _field("worst_class", pa.string(), "class that loses the largest share of its remaining rows"),
    _field("worst_class_change", pa.float64(), "change in accuracy on the remaining rows of worst_class"),
    _field("class_margin", pa.float64(), "share of one class's remaining rows that may break"),
    _field("unjudged", pa.string(), "classes with too few remaining rows to judge, separated by commas"),
)
"""Measures of a model that the gate judges."""

TABLES: dict[str, pa.Schema] = {
    "cases": pa.schema(
        [
            _CASE,
            _field("base_id", pa.string(), "id of everything upstream of the failures; cases can share it"),
            _field("dataset", pa.string(), "data set"),
            _field("model", pa.string(), "architecture"),
            _field("corruption", pa.string(), "kind of planted corruption, null for none"),
            _field("seed", pa.int64(), "seed of every random stream"),
            _field("query_fraction", pa.float64(), "share of the query failures that is used"),
            _field("spec", pa.string(), "the resolved spec as JSON"),
            _field(
                "fingerprint", pa.string(), "hash of all ids, splits and given labels; null until the data set is made"
            ),
            _field("status", pa.string(), "registered, running, finished, failed, stopped or cleared"),
            _field("created_at", pa.timestamp("us", tz="UTC"), "when the case was first registered"),
        ]
    ),
    "examples": pa.schema(
        [
            _CASE,
            _field("example_id", pa.string(), "content hash and occurrence; survives subsetting and corruption"),
            _field(
                "split", pa.string(), "fit, validation, query, query_tuning, holdout, guard, remaining, other_failures"
            ),
            _field("label", pa.int64(), "given label, the number of a class; null for a regression"),
            _field("clean_label", pa.int64(), "label before corruption"),
            _field("label_value", pa.float64(), "given label of a regression; null for classes"),
            _field("clean_label_value", pa.float64(), "the same before corruption"),
            _field("label_text", pa.string(), "given label that is a text or a set of classes; null for others"),
            _field("corrupted", pa.bool_(), "changed on purpose by the case's corruption"),
            _field("label_changed", pa.bool_(), "given label differs from the clean one"),
            _field("failure_group", pa.string(), "group of a test row, be it right or wrong; null if none"),
        ]
    ),
    "groups": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("predicate", pa.string(), "SQL predicate that its rows fulfil; null for all failures"),
            _field("rows", pa.int64(), "test rows of the group"),
            _field("failures", pa.int64(), "rows of the group that the base model gets wrong"),
            _field("query", pa.int64(), "failures used to search for causes"),
            _field("query_tuning", pa.int64(), "failures used to stop and to choose settings"),
            _field("holdout", pa.int64(), "failures that only the evaluation reads"),
        ]
    ),
    "cross_harm": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("influence_method", pa.string(), "influence method whose causes were removed"),
            _field("treatment", pa.string(), "how failure_group was repaired"),
            _field("affected_group", pa.string(), "group on which the accuracies are measured"),
            _field("holdout_accuracy", pa.float64(), "on the affected group's holdout; the base's is 0"),
            _field("remaining_accuracy", pa.float64(), "on the affected group's remaining rows; the base's is 1"),
            _field("holdout", pa.int64(), "number of rows of holdout_accuracy"),
            _field("remaining", pa.int64(), "number of rows of remaining_accuracy, which is null if there are 0"),
        ]
    ),
    "influence": pa.schema(
        [
            _CASE,
            _GROUP,
            _METHOD,
            _field("example_id", pa.string(), "a fit row"),
            _field("influence", pa.float64(), "r of Eq. 7, or the method's own score; greater is more harmful"),
            _field("rank", pa.int64(), "1 is the most harmful; ties broken by example_id"),
            _field(
                "probability",
                pa.float64(),
                "calibrated probability that the row is harmful; null if the method's causes are not asked for by fdr",
            ),
        ]
    ),
    "detection": pa.schema(
        [
            _CASE,
            _GROUP,
            _METHOD,
            _field("auc", pa.float64(), "ROC AUC of influence against planted; null where nothing is planted"),
            _field(
                "average_precision",
                pa.float64(),
                "average precision of the ranking (area under the precision-recall curve)",
            ),
            _field("precision_at_n", pa.float64(), "precision among the n_corrupted most harmful rows"),
            _field("n_corrupted", pa.int64(), "planted fit rows"),
            _field("n_causes", pa.int64(), "number of causes by the case's rule"),
            _field("precision", pa.float64(), "share of the causes that are planted"),
            _field("recall", pa.float64(), "share of the planted rows that are causes"),
            _field(
                "converged", pa.bool_(), "false: the method's linear system was not solved; null: the method has none"
            ),
            _SECONDS,
        ]
    ),
    "detection_curve": pa.schema(
        [
            _CASE,
            _GROUP,
            _METHOD,
            _field("inspected", pa.int64(), "fit rows inspected, most harmful first"),
            _field("found", pa.int64(), "planted rows among them"),
        ]
    ),
    "recovery": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("influence_method", pa.string(), "influence method whose causes were removed; null if none is used"),
            _field("treatment", pa.string(), "treatment, or base for the model before any repair"),
            _field("setting", pa.string(), "settings that differ from the treatment's defaults, as JSON"),
            _field("gamma", pa.float64(), "the precision is (2/gamma) F; null if the treatment has no gamma"),
            _field("removed", pa.int64(), "fit rows removed"),
            _field("chosen", pa.bool_(), "whether this setting was chosen for its treatment and influence method"),
            _field("query_accuracy", pa.float64(), "on the query failures, which were used to search for causes"),
            _field("holdout_accuracy", pa.float64(), "on the held-out failures; that of base is 0 by definition"),
            _field(
                "remaining_accuracy",
                pa.float64(),
                "on rows set aside that base gets right; that of base is 1 by definition",
            ),
            _field(
                "unseen_accuracy",
                pa.float64(),
                "on holdout and remaining rows, weighted by the share of failures in the test set",
            ),
            _field(
                "measure", pa.string(), "task's own number: error, perplexity, f1 or token_accuracy; null for classes"
            ),
            _field("holdout_measure", pa.float64(), "that number on the holdout"),
            _field("remaining_measure", pa.float64(), "the same on the remaining rows"),
            _field("unseen_measure", pa.float64(), "the same on both, weighted as the accuracy"),
            _SECONDS,
        ]
    ),
    "candidates": pa.schema(
        [
            _CASE,
            _GROUP,
            _POOL,
            _field("influence_method", pa.string(), "influence method whose causes were removed; null for the control"),
            _field("treatment", pa.string(), "treatment that was tried"),
            _field("removed", pa.int64(), "fit rows removed"),
            _field("tuning_accuracy", pa.float64(), "on query_tuning"),
            _field("tuning_probability", pa.float64(), "mean probability of the correct class on query_tuning"),
            _field("guard_accuracy", pa.float64(), "on the guard pool; that of base is 1"),
            _field("chosen", pa.bool_(), "whether auto chose this candidate"),
            _field("epochs", pa.int64(), "epochs of a fine-tuning that only screened it; null if it was tried in full"),
        ]
    ),
    "verdicts": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("judge", pa.string(), "auto: the search for a repair; gate: the judgement on unseen rows"),
            _POOL,
            _field("influence_method", pa.string(), "influence method whose causes the judged repair removes"),
            _field("treatment", pa.string(), "treatment of the judged repair"),
            _field("removed", pa.int64(), "fit rows removed"),
            _field(
                "verdict",
                pa.string(),
                "repaired (auto); accepted, recommended, rejected, not_a_data_problem (gate); or not_proven",
            ),
            _field("reason", pa.string(), "the reason for the verdict, as a sentence"),
            _field("p_value", pa.float64(), "auto's sign test on query_tuning, against fine-tuning without removal"),
            *_JUDGED,
            _field(
                "without_doubtful", pa.string(), "the gate's verdict without the rows in doubtful_tests; null if none"
            ),
        ]
    ),
    "doubtful_tests": pa.schema(
        [
            _CASE,
            _field("example_id", pa.string(), "a test row that is weak evidence"),
            _field("split", pa.string(), "as in examples"),
            _field("failed", pa.bool_(), "whether the base model gets it wrong, by the given label"),
            _field("reason", pa.string(), "near_duplicate of a training row, or doubtful_label; a row can have both"),
            _field("training_row", pa.string(), "the training row that it nearly repeats; null for a label"),
            _field(
                "closeness",
                pa.float64(),
                "distance to training_row as a share of that to the 20th nearest training row; 0 for a copy",
            ),
            _field("label", pa.string(), "name of the given class"),
            _field("likelier_label", pa.string(), "class that all models say instead; null for a near duplicate"),
            _field("probability", pa.float64(), "of the given label being wrong; null for a near duplicate"),
        ]
    ),
    "judged_models": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("weights", pa.string(), "hash of the tensors of the judged model, which was made elsewhere"),
            _field("file", pa.string(), "file that the weights were read from"),
            _field("base", pa.string(), "hash of the case's data and base model"),
            _field("compared_with", pa.string(), "hash of the old model's tensors; null where controls were made"),
            _field("verdict", pa.string(), "accepted, recommended, rejected or not_proven"),
            _field("reason", pa.string(), "the reason for the verdict, as a sentence"),
            *_JUDGED,
            _field("judged_at", pa.timestamp("us", tz="UTC"), "when the model was last judged"),
        ]
    ),
    "patch": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("example_id", pa.string(), "a fit row that the repair removes"),
            _field(
                "action",
                pa.string(),
                "drop; relabel if a suggestion is right with probability 0.9; keep, for a person to decide",
            ),
            _field("influence", pa.float64(), "greater is more harmful"),
            _field("rank", pa.int64(), "1 is the most harmful"),
            _field("label", pa.string(), "name of the given label"),
            _field(
                "suggested_label",
                pa.string(),
                "likeliest label by models that did not learn the row; null if it is kept or dropped",
            ),
            _field("failures", pa.string(), "ids of the query failures that it opposes most, separated by commas"),
            _field("reason", pa.string(), "why the row is in the patch, as a sentence"),
            _field(
                "probability", pa.float64(), "calibrated probability that the row is harmful; null where it is unknown"
            ),
            _field(
                "suggestion_probability",
                pa.float64(),
                "calibrated probability that suggested_label is right; null where it is unknown",
            ),
        ]
    ),
    "decisions": pa.schema(
        [
            _CASE,
            _field("example_id", pa.string(), "a training row that a person decided about"),
            _field("decision", pa.string(), "keep, drop, relabel, unsure, or undecided; a row's last decision counts"),
            _field("label", pa.string(), "name of the new class; null unless the row is to be relabelled"),
            _field("who", pa.string(), "who decided"),
            _field("decided_at", pa.timestamp("us", tz="UTC"), "when"),
            _field("note", pa.string(), "what the person wrote beside it; may be empty"),
        ]
    ),
    "applied": pa.schema(
        [
            _CASE,
            _field(
                "failure_group",
                pa.string(),
                "group of failures whose patch has the row, or that a decisions file names; null for neither",
            ),
            _field(
                "example_id", pa.string(), "a row of the patch, or another training row that a person decided about"
            ),
            _field("decision", pa.string(), "what repair patch apply did with the row: drop, relabel, or keep"),
            _field("label", pa.string(), "name of the class that the row got; null unless it was relabelled"),
            _field(
                "source",
                pa.string(),
                "suggestion (of the patch); review (view decisions), patch.csv, decisions file: a person; the option, "
                "verdict (no proven repair) or data (changed since it was judged): what left a row alone",
            ),
            _field("reviewer", pa.string(), "the person who decided; null if nobody is named"),
            _field(
                "decided_at",
                pa.timestamp("us", tz="UTC"),
                "when the patch was applied; reverting it leaves these rows, and applying it again adds new ones",
            ),
        ]
    ),
    "patch_verdicts": pa.schema(
        [
            _CASE,
            _field("verdict", pa.string(), "better, worse or not_proven: the next training with the patch"),
            _field("reason", pa.string(), "the reason for the verdict, as a sentence"),
            _field("trainings", pa.int64(), "trainings on the data as they are, and as many on the patched data"),
            _field("dropped", pa.int64(), "fit rows that the patch drops"),
            _field("relabelled", pa.int64(), "fit rows that the patch relabels"),
            _field("as_is", pa.float64(), "accuracy on unseen rows after training on the data as they are"),
            _field("patched", pa.float64(), "accuracy on unseen rows after training on the patched data"),
            _field("true_labels", pa.float64(), "the same with the true labels; null where nothing is planted"),
            _field("difference", pa.float64(), "patched less as_is"),
            _field("difference_low", pa.float64(), "lower end of the 95% interval of difference, over rows and seeds"),
            _field("difference_high", pa.float64(), "upper end of that interval"),
            _field("holdout", pa.int64(), "failures of the base model among the unseen rows"),
            _field("remaining", pa.int64(), "other unseen rows"),
        ]
    ),
    "pairs": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("failure_id", pa.string(), "a query failure"),
            _field("example_id", pa.string(), "one of the most harmful fit rows"),
            _field(
                "influence", pa.float64(), "first-order influence of the row on the failure, nats; positive: harmful"
            ),
            _field("rank", pa.int64(), "1 is the most harmful to that failure"),
        ]
    ),
    "attribution": pa.schema(
        [
            _field("study", pa.string(), "study that measured it"),
            _field("data", pa.string(), "benchmark: data set and model"),
            _field(
                "measure",
                pa.string(),
                "LDS: Spearman's correlation of summed influences with log p after trainings on random halves; QLD 1%, "
                "QLD 5%: nats that a query gains on average if the most harmful rows are removed, over random rows; "
                "AUC of flips: detection of flipped labels",
            ),
            _field("method", pa.string(), "method, with its settings and the number of checkpoints averaged"),
            _field("query_set", pa.string(), "each: mean over single queries; failures: the failures summed"),
            _field("value", pa.float64(), "the measure; greater is better"),
            _field("low", pa.float64(), "lower end of its 95% interval"),
            _field("high", pa.float64(), "upper end of that interval"),
            _field("queries", pa.int64(), "queries of the set; for AUC of flips the flipped rows"),
            _field("trainings", pa.int64(), "trainings on other rows that it rests on"),
        ]
    ),
    "holdout_reads": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("example_id", pa.string(), "a held-out failure"),
            _field("tests", pa.string(), "which test rows it is one of"),
            _field(
                "content", pa.string(), "hash of its input as the model reads it; null for the data sets of the studies"
            ),
            _field(
                "model",
                pa.string(),
                "hash of the data and the base model that are repaired, or of the weights of a model made elsewhere",
            ),
            _field("read_at", pa.timestamp("us", tz="UTC"), "when the case first read it"),
        ]
    ),
    "timings": pa.schema(
        [
            _CASE,
            _field("method", pa.string(), "influence method; null for steps that all methods share"),
            _field("step", pa.string(), "pipeline step, or variant of a treatment"),
            _SECONDS,
            _field("device", pa.string(), "cpu or cuda"),
            _field("threads", pa.int64(), "intra-op threads"),
        ]
    ),
}
