"""Writers: typed batches go into a model's table, by plain COPY or by the direct path."""
