-- Whether a daemon holds the lease on this control database.
SELECT d.runs FROM bucardo.daemon AS d
