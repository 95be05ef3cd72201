-- The readers for which nothing is kept, or which are about to be copied after that.
SELECT sync, target, round FROM bucardo.track WHERE round IN (-2, -3, -4) ORDER BY sync, target
