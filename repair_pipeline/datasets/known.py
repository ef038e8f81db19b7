"""The catalogue of built-in and plugin data sets, by name."""

from repair_pipeline.datasets.banking77 import banking77, banking77_files
from repair_pipeline.datasets.cifar10 import cifar10, cifar10_files
from repair_pipeline.datasets.digits import digits
from repair_pipeline.datasets.mnist import mnist, mnist_files
from repair_pipeline.datasets.protocol import KnownDataset
from repair_pipeline.plugins import Catalogue

_BUILTIN = {
    "digits": KnownDataset(digits, "1,797 handwritten digits of 8×8 pixels, which come with scikit-learn"),
    "mnist": KnownDataset(mnist, "MNIST: 60,000 and 10,000 handwritten digits of 28×28 pixels", mnist_files),
    "cifar10": KnownDataset(
        cifar10, "CIFAR-10: 50,000 and 10,000 colour photographs of 32×32 pixels, ten classes", cifar10_files
    ),
    "banking77": KnownDataset(
        banking77,
        "BANKING77: 10,003 and 3,080 questions of bank customers, 77 intents, as 300 features of TF-IDF and SVD",
        banking77_files,
    ),
}
DATASETS = Catalogue("data set", "repair_pipeline.datasets", KnownDataset, _BUILTIN)
"""A plugin package adds data sets by entry points of this group, each naming a ``KnownDataset``."""
register_dataset = DATASETS.register
