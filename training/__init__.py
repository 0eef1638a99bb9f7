"""How weights come to be: data sets, augmentation, the training loop, comparisons and reports."""
