-- Records the versions that won: this source knows them from now on.
--   {delta} {delta_keys} {keys} {rulings}
INSERT INTO {delta} ({delta_keys}, txntime, origin)
SELECT {keys}, timestamptz 'epoch' + k.micros * interval '1 microsecond', k.origin
FROM {rulings} AS k
WHERE k.verdict & 2 <> 0
