-- Records the versions that won: this source knows them from now on.
--   {delta} {delta_keys}
COPY {delta} ({delta_keys}, txntime, origin) FROM STDIN
