-- A daemon begins, or ends: nothing is known.
DELETE FROM bucardo.live
