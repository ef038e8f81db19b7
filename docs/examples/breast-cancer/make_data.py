"""scikit-learn's breast-cancer data; in one scanner half of the malignant training rows are called benign."""

import numpy as np
from sklearn.datasets import load_breast_cancer

rows = load_breast_cancer(as_frame=True).frame.sample(frac=1, random_state=0)
rows["label"] = np.where(rows.pop("target") == 1, "benign", "malignant")
rows["scanner"] = np.where(rows["mean smoothness"] > rows["mean smoothness"].median(), "B", "A")
rows.insert(0, "patient", [f"p{number:03d}" for number in range(len(rows))])

train, test = rows[:240].copy(), rows[240:]
wrong = train[(train["scanner"] == "B") & (train["label"] == "malignant")].sample(frac=0.5, random_state=1).index
train.loc[wrong, "label"] = "benign"
train.to_parquet("train.parquet", index=False)
test.to_parquet("test.parquet", index=False)
print(f"{len(train)} training rows, {len(wrong)} of them wrongly called benign; {len(test)} test rows")
