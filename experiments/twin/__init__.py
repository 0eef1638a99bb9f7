"""Does it matter that they spike? One network as SNN and as ANN, trained on the same samples and asked the same."""
