-- Nobody has a session open any more.
DELETE FROM bucardo.dbrun
