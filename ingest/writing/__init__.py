"""Write typed batches into a model's table, by plain COPY or by the direct path."""
