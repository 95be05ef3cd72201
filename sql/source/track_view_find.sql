-- The name of the view that shows the track of a captured table, and whether it is there.
--   $1 int  the table's number
SELECT v.name,
       coalesce(strpos(pg_get_viewdef(to_regclass(format('bucardo.%I', v.name))), 'bucardo_track_of(' || v.id || ')') > 0,
                false) AS is_there
FROM (
    SELECT c.id, 'track_' || substr(c.deltaname, 7) AS name FROM bucardo.captured AS c WHERE c.id = $1
) AS v
