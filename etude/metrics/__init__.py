"""One module per metric: conventions, validate(), pure functions, evaluate()."""
