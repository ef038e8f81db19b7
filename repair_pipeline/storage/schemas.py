"""The tables that users query, with units and sign in each field's description."""

import pyarrow as pa


def _field(name: str, kind: pa.DataType, says: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": says})


_CASE = _field("case_id", pa.string(), "preset name, or name and hash of the spec")
_GROUP = _field("failure_group", pa.string(), "the failures in question; 'all' unless groups are asked for")
_METHOD = _field("method", pa.string(), "influence method")
_POOL = _field("pool", pa.string(), "data_only: nothing was trained on the failures; all: also what is")
_SECONDS = _field("seconds", pa.float64(), "wall clock")

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
            _field("status", pa.string(), "registered, running, finished or failed"),
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
            _POOL,
            _field("verdict", pa.string(), "repaired, or not_a_data_problem: then nothing is changed"),
            _field("p_value", pa.float64(), "one-sided sign test on query_tuning, against fine-tuning without removal"),
        ]
    ),
    "timings": pa.schema(
        [
            _CASE,
            _field("method", pa.string(), "influence method; null for steps that methods share"),
            _field("step", pa.string(), "pipeline step, or cell of the recovery table"),
            _SECONDS,
            _field("device", pa.string(), "cpu or cuda"),
            _field("threads", pa.int64(), "intra-op threads"),
        ]
    ),
}
