-- Keeps conflicts until they are in the control database. The db of each is the number of the transaction: one that another
-- merge has kept, too, is told twice, and known by its id.
COPY bucardo.conflict_kept (id, db, sync, body) FROM STDIN
