"""What users give, damaged at random: it is read, or refused by an InputError of one line.

``REPAIR_FUZZ=10000`` tries that many of each instead of a few, drawn anew in every run: ``make fuzz``.
"""

import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from repair_pipeline.cases.resolve import load_spec, with_settings
from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.datasets.failures_list import read_failures
from repair_pipeline.datasets.prepared import Prepared, Scale
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError

TRIED = int(os.environ.get("REPAIR_FUZZ", "25"))
few = settings(
    max_examples=TRIED,
    derandomize="REPAIR_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
pytestmark = pytest.mark.filterwarnings("ignore")


def read_or_refused(action, *arguments):
    """The result, or None where an InputError of one line says why there is none."""
    try:
        return action(*arguments)
    except InputError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    return None


# Case files.

CASE = """\
name: wards
dataset: {train: train.parquet, test: test.csv, label: label, features: [a, b], id: pid, classes: [well, ill]}
model: {factory: "my_model:net", arguments: {width: 64}, weights: model.safetensors}
seed: 3
parameters: last_block
failures: {where: "scanner = 'B'"}
training: {epochs: 12, optimiser: adamw, learning_rate: 0.01}
influence: {ewc: {curvature: exact}, loss: {}, random: {}}
causes: {fdr: 0.1}
treat: [ewc, random]
treatments: {retrain: {}, base: {}, ewc_deletion: [{gamma: 0.1}, {gamma: 0.2}]}
gate: {level: strict, controls: 5}
patch: {trainings: 3}
leave_out: [near_duplicate]
compute: {threads: 1}
"""
SCALARS = st.sampled_from(
    [
        *(
            "no",
            "on",
            "~",
            "1",
            "-1",
            "1.5",
            "1e999",
            ".nan",
            "-.inf",
            "2024-01-31",
            "2024-99-99",
            "0x_",
            "0b",
            "1:99:61",
        ),
        *("''", "'a b'", "é", "a.b:c", "[]", "{}", "[1, [2]]", "{a: {b: c}}", "&a [*a]", "&a {x: *a}", "*a", "<<"),
        *("!!int ''", "!!binary gICA", "!!set {a, b}", "!!timestamp x", "!!bool x", "!!python/object:os.system {}"),
        *("{self: 1}", "{cls: 1}", "{1: 2}", "{null: 1}", "{? [a] : b}", "{? {a: b} : c}", "{a: 1, a: 2}"),
        *('"\\0"', '"\\ud800"', "9" * 5000, "[" * 400),
    ]
)
WORDS = sorted(set(CASE.replace(":", " ").replace(",", " ").replace("{", " ").replace("}", " ").split()))
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner),
    max_leaves=8,
)


@st.composite
def cases(draw):
    """The case with some of its values, lines or characters changed."""
    lines = CASE.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        key, _, value = lines[at].partition(": ")
        change = draw(st.integers(0, 4))
        if change == 0:
            lines[at] = f"{key}: {draw(SCALARS)}"
        elif change == 1:
            words = value.split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(SCALARS)
            lines[at] = f"{key}: {' '.join(words)}"
        elif change == 2:
            lines[at] = yaml.dump({key: draw(TREES)}).strip()
        elif change == 3:
            cut = draw(st.integers(0, len(lines[at])))
            lines[at] = lines[at][:cut] + draw(st.text(max_size=3)) + lines[at][cut + draw(st.integers(0, 3)) :]
        else:
            lines[at] = f"{draw(SCALARS)}: {value}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@few
@given(content=cases() | st.binary(max_size=60) | TREES.map(lambda tree: yaml.dump(tree).encode("utf-8", "replace")))
def test_any_case_file_is_read_or_refused(tmp_path, content):
    (tmp_path / "case.yaml").write_bytes(content)
    spec = read_or_refused(load_spec, str(tmp_path / "case.yaml"))
    if spec:
        assert len(spec.digest) == 8
        assert parse_spec(spec.resolved).digest == spec.digest


SPEC = parse_spec(yaml.safe_load(CASE))
KEYS = st.sampled_from(
    ["dataset", "dataset.classes", "dataset.classes.0", "model.arguments.x", "seed", "treatments.base"]
)


@few
@given(key=KEYS | st.text(max_size=8), value=SCALARS | st.text(max_size=8))
def test_any_setting_is_taken_or_refused(key, value):
    spec = read_or_refused(with_settings, SPEC, [f"{key}={value}"])
    assert spec is None or len(spec.digest) == 8


# Tables.

ROWS = {
    "pid": ["001", "002", "x", "é"],
    "a": [0.5, 1.5, None, 3.0],
    "b": [1, 2, 3, 4],
    "label": ["no", "yes", "no", ""],
}
FIELDS = st.sampled_from(
    [
        *("", "0", "1", "001", "1.0", "-1", "nan", "NaN", "NA", "inf", "1e999", "12e3", "true", "no", "yes", "9" * 20),
        *("2024-01-31", "2024-01-31T00:00:00", '"', '""', '"a,b"', '"a\nb', "é", "\0", " x ", ";"),
    ]
)
HEADERS = st.sampled_from(["a", "b", "label", "pid", "", " a", "Label", '"x', "split"])


@st.composite
def csv_files(draw):
    """Rows of fields that programs read in different ways, separated and encoded in different ways."""
    width = draw(st.integers(1, 4))
    header = draw(st.lists(HEADERS, min_size=width, max_size=width))
    rows = draw(st.lists(st.lists(FIELDS | st.text(max_size=4), min_size=1, max_size=width), max_size=5))
    separator, end = draw(st.sampled_from([",", ",", ",", ";", "\t"])), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = end.join(separator.join(row) for row in [header, *rows])
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])), "replace")


def parquet(rows):
    content = io.BytesIO()
    pq.write_table(pa.table(rows), content)
    return content.getvalue()


def damaged(content):
    """The bytes with a few changed, or cut."""

    def change(how):
        changed = bytearray(content)
        for at, byte in how[1]:
            changed[at % len(changed)] = byte
        return bytes(changed[: how[0] % len(changed) + 1]) if how[0] else bytes(changed)

    places = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    return st.tuples(st.integers(0, len(content) - 1) | st.just(0), places).map(change)


COLUMNS = st.sampled_from([{}, {"id": "pid"}, {"features": ("a",)}, {"classes": ("yes", "no")}, {"metadata": ("a",)}])


def read_whole(spec, folder):
    data = read(spec, folder)
    assert data.train.inputs.isfinite().all()
    assert len(set(data.train.ids)) == len(data.train)
    return data


@few
@given(content=csv_files() | st.binary(max_size=60), fields=COLUMNS)
def test_any_csv_file_is_read_or_refused(tmp_path, content, fields):
    (tmp_path / "train.csv").write_bytes(content)
    (tmp_path / "test.csv").write_text("pid,a,b,label\nt,1,2,no\n")
    read_or_refused(read_whole, UserData("train.csv", "test.csv", **fields), tmp_path)


NUMBERS = [True, 1, 2**62, -1.5, float("nan"), float("inf"), 1e300, [1.0, 2.0], []]
VALUES = st.sampled_from([None, *NUMBERS, "", "a", "é", "\0", b"x", b"\xff", {"bytes": b"x"}])


@st.composite
def tables(draw):
    """Columns of every kind that Arrow infers from a few values, and some that it does not."""
    columns = {}
    for name in draw(st.lists(st.sampled_from(["a", "b", "label", "pid", "image", "split"]), min_size=1, unique=True)):
        value = draw(VALUES)
        values = [value if draw(st.booleans()) else draw(st.sampled_from([None, value])) for _ in range(3)]
        kinds = [pa.timestamp("us"), pa.date32(), pa.duration("s"), pa.decimal128(5, 2), pa.string_view(), pa.binary(1)]
        column = pa.array(values)
        kind = draw(st.none() | st.sampled_from(kinds))
        try:
            columns[name] = column.cast(kind) if kind else column
        except pa.ArrowException:
            columns[name] = column
    return columns


@few
@given(
    content=damaged(parquet(ROWS)) | tables().map(parquet) | st.binary(max_size=60), fields=COLUMNS, test=st.booleans()
)
def test_any_parquet_file_is_read_or_refused(tmp_path, content, fields, test):
    (tmp_path / "train.parquet").write_bytes(content)
    (tmp_path / "test.parquet").write_bytes(content if test else parquet(ROWS))
    read_or_refused(read_whole, UserData("train.parquet", "test.parquet", **fields), tmp_path)


@few
@given(content=csv_files() | damaged(b"pid,why\n001,x\n002,y\n") | st.binary(max_size=60), strangers=st.booleans())
def test_any_list_of_failures_is_read_or_refused(tmp_path, content, strangers):
    (tmp_path / "failures.csv").write_bytes(content)
    ids = np.array(ROWS["pid"])
    metadata = pa.table({"example_id": ROWS["pid"], "b": ROWS["b"]})
    listed = read_or_refused(read_failures, tmp_path / "failures.csv", ids, metadata, "pid", strangers)
    assert listed is None or set(listed.tolist()) <= set(ROWS["pid"])


# Images.


def image_of(mode, form):
    content = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(content, form)
    return content.getvalue()


FORMATS = [("L", "PNG"), ("RGB", "JPEG"), ("P", "GIF"), ("RGBA", "WEBP"), ("RGB", "BMP"), ("L", "TIFF"), ("F", "TIFF")]
FORMATS += [("I;16", "PNG"), ("CMYK", "JPEG"), ("LA", "PNG"), ("P", "PNG"), ("1", "PPM"), ("I", "TIFF")]
IMAGES = [image_of(*each) for each in FORMATS]
WHOLE = st.sampled_from([None, b"", *IMAGES])


def prepared(rows):
    inputs = Prepared(rows, None, "training", Scale(rows, "training"))
    return inputs[torch.arange(len(rows))]


@few
@given(
    rows=st.lists(
        st.sampled_from(IMAGES).flatmap(damaged) | st.sampled_from([None, b"", *IMAGES]), min_size=1, max_size=3
    )
)
def test_any_images_are_read_or_refused(rows):
    pixels = read_or_refused(prepared, rows)
    assert pixels is None or (pixels.min() >= 0 and pixels.max() <= 1)
