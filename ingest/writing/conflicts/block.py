"""The PL/pgSQL block that writes the rows of one batch, with placeholders for each load."""

# Makes PostgreSQL find the rows for the UPDATE and the lock one by one, by ctid or by the key's
# index. The planner has no statistics of the temporary tables and might read the whole table.
_NESTED = """PERFORM pg_catalog.set_config('ingest.hashjoin',
          pg_catalog.current_setting('enable_hashjoin'), true),
        pg_catalog.set_config('ingest.mergejoin',
          pg_catalog.current_setting('enable_mergejoin'), true),
        pg_catalog.set_config('enable_hashjoin', 'off', true),
        pg_catalog.set_config('enable_mergejoin', 'off', true);"""
_AS_BEFORE = """PERFORM pg_catalog.set_config('enable_hashjoin',
          pg_catalog.current_setting('ingest.hashjoin'), true),
        pg_catalog.set_config('enable_mergejoin',
          pg_catalog.current_setting('ingest.mergejoin'), true);"""
_COUNT = """SELECT pg_catalog.count(*) FILTER (WHERE w.{own}what OPERATOR(pg_catalog.=) 'i'),
           pg_catalog.count(*) FILTER (WHERE w.{own}what OPERATOR(pg_catalog.=) 'u'),
           pg_catalog.count(*) FILTER (WHERE w.{own}what OPERATOR(pg_catalog.=) 'c'),
           pg_catalog.count(*) FILTER (
             WHERE w.{own}what OPERATOR(pg_catalog.=) ANY ('{{m,l}}'::pg_catalog.text[]))"""
SETTLE = (
    """
#variable_conflict use_column
DECLARE
  {own}file bigint := pg_catalog.current_setting('ingest.file')::bigint;
  {own}since integer := pg_catalog.age((
    pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::pg_catalog.text::bigint
      OPERATOR(pg_catalog.%) 4294967296)::pg_catalog.text::pg_catalog.xid);
  {own}is_first boolean := true;
  {own}times_again integer := 0;
  {own}is_again boolean := false;
  {own}tried bigint;
  {own}is_whole boolean;
  {own}is_over boolean := false;
  {own}round integer := 0;
  {own}inserts bigint;
  {own}updates bigint;
  {own}looks bigint;
  {own}misses bigint;
  {own}failed integer := 0;
  {own}added bigint;
  {own}absent bigint;
  {own}suspect bigint;
  {own}at bigint;
  {own}up_to bigint;
  {own}final bigint;
  {own}size bigint;
  {own}inserted bigint := 0;
  {own}updated bigint := 0;
  {own}unchanged bigint := 0;
  {own}ignored bigint := 0;
  {own}skipped bigint := 0;
  {own}message pg_catalog.text;
  {own}detail pg_catalog.text;
  {own}constraint pg_catalog.text;
  {own}column pg_catalog.text;
BEGIN
  {first_duplicates}
  LOOP
    {own}round := {own}round OPERATOR(pg_catalog.+) 1;
    IF {own}is_first THEN
      {meet_all};
    ELSE
      {meet_todo};
    END IF;
    {count_ignored}
    """
    + _COUNT
    + """, pg_catalog.min(w.{place}), pg_catalog.max(w.{place})
    INTO {own}inserts, {own}updates, {own}looks, {own}misses, {own}at, {own}final
    FROM {work} w;
    IF {own}looks OPERATOR(pg_catalog.>) 0 THEN
      """
    + _NESTED
    + """
      {lock};
      """
    + _AS_BEFORE
    + """
      """
    + _COUNT
    + """ INTO {own}inserts, {own}updates, {own}looks, {own}misses FROM {work} w;
    END IF;
    IF {own}misses OPERATOR(pg_catalog.>) 0 THEN
      INSERT INTO {refused} (place, state) SELECT w.{place},
        CASE WHEN w.{own}what OPERATOR(pg_catalog.=) 'm' THEN '{missing_state}'
             ELSE '{lacking_state}' END
      FROM {work} w WHERE w.{own}what OPERATOR(pg_catalog.=) ANY ('{{m,l}}'::pg_catalog.text[]);
      WITH {own}alike AS (
        DELETE FROM {repeated} r USING {refused} f
        WHERE r.of_file OPERATOR(pg_catalog.=) {own}file
          AND r.of_place OPERATOR(pg_catalog.=) f.place
          AND f.state OPERATOR(pg_catalog.=)
            ANY ('{{{missing_state},{lacking_state}}}'::pg_catalog.text[])
        RETURNING r.place, f.state)
      INSERT INTO {refused} (place, state) SELECT place, state FROM {own}alike;
    END IF;
    {own}is_whole := true;
    {own}size := {own}final OPERATOR(pg_catalog.-) {own}at OPERATOR(pg_catalog.+) 1;
    IF {own}is_again THEN
      {own}is_whole := false;
      {own}size := 1;
      {own}tried := 0;
      {index_places}
      IF {own}misses OPERATOR(pg_catalog.>) 0 THEN
        DELETE FROM {todo} d USING {refused} f WHERE f.place OPERATOR(pg_catalog.=) d.place;
      END IF;
    ELSIF {own}inserts OPERATOR(pg_catalog.+) {own}updates OPERATOR(pg_catalog.=) 0 THEN
      {own}at := {own}final OPERATOR(pg_catalog.+) 1;
    END IF;
    WHILE {own}is_again OR {own}at OPERATOR(pg_catalog.<=) {own}final LOOP
      IF {own}is_again THEN
        {next_again}
        EXIT WHEN {own}at IS NULL;
      END IF;
      {begin_outer}
      {own}up_to := least({own}at OPERATOR(pg_catalog.+) {own}size OPERATOR(pg_catalog.-) 1,
                          {own}final);
      IF {own}is_again THEN
        {own}up_to := {own}at;
      ELSIF NOT {own}is_whole THEN
        SELECT pg_catalog.min(d.place) INTO {own}suspect FROM {todo} d
        WHERE d.place OPERATOR(pg_catalog.>=) {own}at;
        IF {own}suspect OPERATOR(pg_catalog.=) {own}at THEN
          {own}up_to := {own}at;
        ELSIF {own}suspect OPERATOR(pg_catalog.<=) {own}up_to THEN
          {own}up_to := {own}suspect OPERATOR(pg_catalog.-) 1;
        END IF;
      END IF;
      IF NOT {own}is_whole THEN
        """
    + _COUNT
    + """ INTO {own}inserts, {own}updates, {own}looks, {own}misses
        FROM {work} w WHERE w.{place} OPERATOR(pg_catalog.>=) {own}at
          AND w.{place} OPERATOR(pg_catalog.<=) {own}up_to;
      END IF;
      BEGIN
        IF {own}updates OPERATOR(pg_catalog.>) 0 THEN
          """
    + _NESTED
    + """
          {keep}
          {update};
          GET DIAGNOSTICS {own}added = ROW_COUNT;
          """
    + _AS_BEFORE
    + """
          IF {own}added OPERATOR(pg_catalog.<>) {own}updates THEN
            RAISE EXCEPTION USING ERRCODE = '{kept_out_state}';
          END IF;
        END IF;
        IF {own}inserts OPERATOR(pg_catalog.>) 0 THEN
          {leave_out_triggers}
          IF {own}is_whole AND {own}at OPERATOR(pg_catalog.<) {own}up_to THEN
            {insert_whole};
          ELSE
            {insert};
          END IF;
          GET DIAGNOSTICS {own}added = ROW_COUNT;
          {bring_back_triggers}
          IF {own}added OPERATOR(pg_catalog.<>) {own}inserts THEN
            RAISE EXCEPTION USING ERRCODE = '{kept_out_state}';
          END IF;
        END IF;
        {fire_deferred}
        INSERT INTO {marks} DEFAULT VALUES;
        IF {own}is_again THEN
          {hold_key}
        END IF;
        {own}at := {own}up_to OPERATOR(pg_catalog.+) 1;
        {own}size := least({own}size OPERATOR(pg_catalog.*) 2, {piece});
      EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
        {own}failed := {own}failed OPERATOR(pg_catalog.+) 1;
        IF SQLSTATE OPERATOR(pg_catalog.~~) ANY ({servers_own}) THEN
          RAISE;
        ELSIF {own}at OPERATOR(pg_catalog.<) {own}up_to THEN
          IF {own}is_whole THEN
            {index_places}
            {find_suspects}
            {own}is_whole := false;
            {own}size := {piece};
          ELSE
            {own}size := least(({own}up_to OPERATOR(pg_catalog.-) {own}at OPERATOR(pg_catalog.+) 1)
                               OPERATOR(pg_catalog./) 2, {piece});
          END IF;
        ELSIF SQLSTATE OPERATOR(pg_catalog.=) '{kept_out_state}' THEN
          UPDATE {work} w SET {own}what = 'a' WHERE w.{place} OPERATOR(pg_catalog.=) {own}at;
          IF {own}is_again THEN
            {hold_key}
          END IF;
          IF {own}suspect IS NULL OR {own}suspect OPERATOR(pg_catalog.<>) {own}at THEN
            {own}size := 1;  -- others like it may follow
          END IF;
          {own}at := {own}at OPERATOR(pg_catalog.+) 1;
        ELSE
          GET STACKED DIAGNOSTICS {own}message = MESSAGE_TEXT,
            {own}detail = PG_EXCEPTION_DETAIL, {own}constraint = CONSTRAINT_NAME,
            {own}column = COLUMN_NAME;
          IF SQLSTATE OPERATOR(pg_catalog.~~) ANY ({of_statement}) THEN
            {probe};  -- if it is about the statement, no row is needed for it
          END IF;
          INSERT INTO {refused} VALUES ({own}at, SQLSTATE, pg_catalog.left({own}message, 1000),
            pg_catalog.left({own}detail, 1000), {own}constraint, {own}column);
          UPDATE {work} w SET {own}what = 'r' WHERE w.{place} OPERATOR(pg_catalog.=) {own}at;
          {after_refused}
          IF {own}suspect IS NULL OR {own}suspect OPERATOR(pg_catalog.<>) {own}at THEN
            {own}size := 1;  -- others like it may follow
          END IF;
          {own}at := {own}at OPERATOR(pg_catalog.+) 1;
        END IF;
      END;
      {end_outer}
    END LOOP;
    EXIT WHEN {own}is_over;
    IF {own}is_again THEN
      {note_again}
      {own}is_again := false;
    END IF;
    {note_outcomes}
    {count_settled}
    DELETE FROM {todo};
    INSERT INTO {todo} SELECT w.{place} FROM {work} w
    WHERE w.{own}what OPERATOR(pg_catalog.=) ANY ('{{a,c}}'::pg_catalog.text[]);
    GET DIAGNOSTICS {own}added = ROW_COUNT;
    {own}is_first := false;
    IF {own}added OPERATOR(pg_catalog.>) 0 AND {own}round OPERATOR(pg_catalog.<) {rounds} THEN
      DELETE FROM {work};
      CONTINUE;
    END IF;
    INSERT INTO {refused} (place, state) SELECT d.place, '{kept_out_state}' FROM {todo} d;
    EXIT WHEN NOT EXISTS (SELECT FROM {refused});
    {forget_refused}
    EXIT WHEN NOT EXISTS (SELECT FROM {repeated});
    {later_duplicates}
    DELETE FROM {work};
    {own}round := 0;
  END LOOP;
  PERFORM pg_catalog.set_config('ingest.settled', pg_catalog.concat_ws(',', {own}inserted,
    {own}updated, {own}unchanged, {own}ignored, {own}skipped), true);
END
"""
)
