"""Measures on a model's own table what each way of loading costs."""
