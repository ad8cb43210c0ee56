"""Do something to the server around one statement of a load."""

STEPS = ["DROP INDEX", "ALTER TABLE ONLY", "unnest", "COPY", "CREATE INDEX", "CREATE UNIQUE INDEX",
         "ADD CONSTRAINT", "COMMENT ON", "SET CONSTRAINTS"]  # fmt: skip
"""The statements of a load that builds its indexes after the rows, by what is in them."""


def at_step(session, step, moment, kill):
    """Call ``kill`` around the session's first statement of a kind: before, during or after it.

    Gives the list in which that statement stands once it was reached.
    """
    seen = []

    def around(name):
        method = getattr(session, name)

        def call(statement, *parameters):
            # A script is what sends a batch: one COPY, where a refused row ends the load.
            text = statement if isinstance(statement, str) else "COPY"
            is_it = step in text and not seen and "pg_catalog.pg_index" not in text
            if is_it and moment == "before":
                seen.append(text)
                kill()
            result = method(statement, *parameters)
            if is_it and moment != "before":
                seen.append(text)
                if name == "start" and moment == "after":
                    result.result()
                kill()
            return result

        setattr(session, name, call)

    for name in ("execute", "fetch", "start"):
        around(name)
    return seen
