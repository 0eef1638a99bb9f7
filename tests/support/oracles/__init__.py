"""What compiled loops are held against: the same equations in plain numpy and torch."""
