"""What answers are worth: scorers, statistics, and what is said about variants."""
