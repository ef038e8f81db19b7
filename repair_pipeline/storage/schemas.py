"""The tables that users query, with units and sign in each field's description."""

import pyarrow as pa


def _field(name: str, kind: pa.DataType, says: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": says})


_CASE = _field("case_id", pa.string(), "preset name, or name and hash of the spec")
_GROUP = _field("failure_group", pa.string(), "the failures in question; 'all' unless groups are asked for")
_METHOD = _field("method", pa.string(), "influence method")
_POOL = _field("pool", pa.string(), "data_only: nothing was trained on the failures; all: also what is")
_SECONDS = _field("seconds", pa.float64(), "wall clock")

_JUDGED = (
    _field("holdout", pa.int64(), "failures that it is judged on: those that no earlier case read, if any"),
    _field("reused", pa.int64(), "earlier cases that read them: 0, or nothing but recommended can come of it"),
    _field("fixed", pa.int64(), "those of them that the repair gets right"),
    _field("broken", pa.int64(), "remaining rows that it gets wrong"),
    _field("gain", pa.float64(), "(fixed - broken) / n over unseen, at the test set's natural mix"),
    _field("gain_low", pa.float64(), "lower end of its paired 95% bootstrap interval"),
    _field("gain_high", pa.float64(), "upper end"),
    _field("over_control", pa.float64(), "holdout accuracy above that of the controls: as many random rows removed"),
    _field("over_control_low", pa.float64(), "lower end of its 95% interval, over rows and seeds"),
    _field("over_control_high", pa.float64(), "upper end"),
    _field("remaining_change", pa.float64(), "of the accuracy on remaining"),
    _field("remaining_low", pa.float64(), "its lower bound"),
    _field("worst_class", pa.string(), "the class whose lower bound is the lowest"),
    _field("worst_class_low", pa.float64(), "that bound"),
    _field("unjudged", pa.string(), "classes with too few remaining rows to be judged, by comma"),
)
"""What the gate measures of a model."""

TABLES: dict[str, pa.Schema] = {
    "cases": pa.schema(
        [
            _CASE,
            _field("base_id", pa.string(), "what lies upstream of the failures, shared by cases that agree in it"),
            _field("dataset", pa.string(), "data set"),
            _field("model", pa.string(), "architecture"),
            _field("corruption", pa.string(), "kind of planted corruption, null for none"),
            _field("seed", pa.int64(), "seed of every stream"),
            _field("query_fraction", pa.float64(), "share of the query-side failures in use"),
            _field("spec", pa.string(), "the resolved spec, JSON"),
            _field("fingerprint", pa.string(), "hash of all ids, splits and given labels; null until the data is made"),
            _field("status", pa.string(), "registered, running, finished, failed or stopped"),
            _field("created_at", pa.timestamp("us", tz="UTC"), "when the case was first registered"),
        ]
    ),
    "examples": pa.schema(
        [
            _CASE,
            _field("example_id", pa.string(), "content hash and occurrence; survives subsetting and corruption"),
            _field(
                "split",
                pa.string(),
                "fit, validation, query, query_tuning, holdout, guard, remaining, other_failures",
            ),
            _field("label", pa.int64(), "given label"),
            _field("clean_label", pa.int64(), "label before corruption"),
            _field("corrupted", pa.bool_(), "intervened upon"),
            _field("label_changed", pa.bool_(), "given label differs from the clean one"),
            _field("failure_group", pa.string(), "of a test row: the group it is of, right or wrong; null for none"),
        ]
    ),
    "groups": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("predicate", pa.string(), "what its rows have in common; null for all failures"),
            _field("rows", pa.int64(), "test rows of the group"),
            _field("failures", pa.int64(), "those of them that the base model gets wrong"),
            _field("query", pa.int64(), "failures that causes are searched with"),
            _field("query_tuning", pa.int64(), "failures that stopping and choosing may read"),
            _field("holdout", pa.int64(), "failures that nothing may read but the evaluation"),
        ]
    ),
    "cross_harm": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("influence_method", pa.string(), "whose causes were removed"),
            _field("treatment", pa.string(), "how failure_group was repaired"),
            _field("affected_group", pa.string(), "the group that this is measured on"),
            _field("holdout_accuracy", pa.float64(), "on the affected group's holdout; the base's is 0"),
            _field("remaining_accuracy", pa.float64(), "on the affected group's remaining rows; the base's is 1"),
            _field("holdout", pa.int64(), "rows of the first accuracy"),
            _field("remaining", pa.int64(), "rows of the second accuracy; 0: there is none, and it is null"),
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
        ]
    ),
    "detection": pa.schema(
        [
            _CASE,
            _GROUP,
            _METHOD,
            _field("auc", pa.float64(), "ROC AUC of influence against planted; null where nothing is planted"),
            _field("average_precision", pa.float64(), "area under precision and recall"),
            _field("precision_at_n", pa.float64(), "precision among the n_corrupted most harmful"),
            _field("n_corrupted", pa.int64(), "planted fit rows"),
            _field("n_causes", pa.int64(), "causes under the case's rule"),
            _field("precision", pa.float64(), "of the causes"),
            _field("recall", pa.float64(), "of the causes"),
            _field("converged", pa.bool_(), "false: its linear system is not solved; null: it has none"),
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
            _field("influence_method", pa.string(), "whose causes were removed; null where none is needed"),
            _field("treatment", pa.string(), "treatment, or base for the model before"),
            _field("setting", pa.string(), "departures from the treatment's defaults, JSON"),
            _field("gamma", pa.float64(), "the precision is (2/gamma) F; null where the treatment has none"),
            _field("removed", pa.int64(), "fit rows removed"),
            _field("chosen", pa.bool_(), "the setting kept of this treatment and influence method"),
            _field("query_accuracy", pa.float64(), "on the failures that causes were searched with"),
            _field("holdout_accuracy", pa.float64(), "on the failures set aside; the base's is 0 by construction"),
            _field("remaining_accuracy", pa.float64(), "on correctly classified rows set aside; the base's is 1"),
            _field("unseen_accuracy", pa.float64(), "holdout and remaining at the test set's natural mix"),
            _SECONDS,
        ]
    ),
    "candidates": pa.schema(
        [
            _CASE,
            _GROUP,
            _POOL,
            _field("influence_method", pa.string(), "whose causes were removed; null for the control"),
            _field("treatment", pa.string(), "treatment that was tried"),
            _field("removed", pa.int64(), "fit rows removed"),
            _field("tuning_accuracy", pa.float64(), "on query_tuning"),
            _field("tuning_probability", pa.float64(), "mean probability of the right class on query_tuning"),
            _field("guard_accuracy", pa.float64(), "on the guard pool; the base's is 1"),
            _field("chosen", pa.bool_(), "what auto kept"),
        ]
    ),
    "verdicts": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("judge", pa.string(), "auto: the search for a repair; gate: the judgement on unseen rows"),
            _POOL,
            _field("influence_method", pa.string(), "whose causes were removed by the repair that is judged"),
            _field("treatment", pa.string(), "the repair that is judged"),
            _field("removed", pa.int64(), "fit rows removed"),
            _field(
                "verdict",
                pa.string(),
                "repaired (auto); accepted, recommended, rejected, not_proven (gate); or not_a_data_problem",
            ),
            _field("reason", pa.string(), "the gate's, in a sentence"),
            _field("p_value", pa.float64(), "auto's sign test on query_tuning, against fine-tuning without removal"),
            *_JUDGED,
        ]
    ),
    "judged_models": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("weights", pa.string(), "hash of the tensors of the model that is judged, which was made elsewhere"),
            _field("file", pa.string(), "where they were read"),
            _field("base", pa.string(), "hash of the data and the base model that it is compared with"),
            _field("verdict", pa.string(), "accepted, recommended, rejected or not_proven"),
            _field("reason", pa.string(), "the gate's, in a sentence"),
            *_JUDGED,
            _field("judged_at", pa.timestamp("us", tz="UTC"), "when it was judged last"),
        ]
    ),
    "patch": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("example_id", pa.string(), "a fit row that the repair removes"),
            _field("action", pa.string(), "drop, or relabel where the repaired model is sure of another class"),
            _field("influence", pa.float64(), "greater is more harmful"),
            _field("rank", pa.int64(), "1 is the most harmful"),
            _field("label", pa.string(), "given label, by name"),
            _field("suggested_label", pa.string(), "the repaired model's; null where it is the given one"),
            _field("failures", pa.string(), "ids of the query failures that it opposes most, by comma"),
            _field("reason", pa.string(), "the same in a sentence"),
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
    "holdout_reads": pa.schema(
        [
            _CASE,
            _GROUP,
            _field("example_id", pa.string(), "a held-out failure"),
            _field("tests", pa.string(), "the test rows that it is one of"),
            _field("content", pa.string(), "hash of its input as the model reads it; null in the studies' data sets"),
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
            _field("method", pa.string(), "influence method; null for steps that methods share"),
            _field("step", pa.string(), "pipeline step, or variant of a treatment"),
            _SECONDS,
            _field("device", pa.string(), "cpu or cuda"),
            _field("threads", pa.int64(), "intra-op threads"),
        ]
    ),
}
