-- Records the versions that won: this source knows them from now on.
--   {delta} {delta_keys} {keys} {take}
INSERT INTO {delta} ({delta_keys}, txntime, origin)
SELECT {keys}, timestamptz 'epoch' + k.micros * interval '1 microsecond', k.origin FROM {take} AS k
