"""A line for each command of training, in the order that they are listed in.

Apart from the commands, so that `ncal --help` needs nothing that training needs.
"""

from collections.abc import Mapping

SUMMARIES: Mapping[str, str] = {
    "train": "From a table or a recipe to a measured, calibrated checkpoint",
    "audit": "List the labels of a table, or of a training, that look wrong",
    "evaluate": "Measure a finished checkpoint on labelled files",
    "behaviour": "Put a checkpoint to the behavioural tests",
    "calibrate": "Refit temperature, biases and thresholds on labelled files",
    "export": "Write the checkpoint of a finished run, or add model.onnx to a finished one",
    "crossvalidate": "Measure a recipe by cross-validation and report",
    "report": "Write the report again from kept folds",
    "baseline": "Measure TF-IDF with logistic regression on the same folds",
    "mixes": "Simulate what priors do to the baseline's answers in batches",
    "ablate": "Compare presets over seeds on the same folds",
    "pretrain": "Train a small decoder from nothing on unlabelled text",
}
