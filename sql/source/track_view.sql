-- The track of one table as version 5 showed it: a view over what the source knows of its readers.
--   {view}      its name
--   {captured}  the number of the captured table
CREATE OR REPLACE VIEW {view} AS SELECT t.txntime, t.target FROM bucardo.bucardo_track_of({captured}) AS t
