-- Sources that are merged again: they are no longer away.
--   $1 text    the sync
--   $2 text[]  the sources that are still away
DELETE FROM bucardo.trouble WHERE sync = $1::text AND source <> '' AND target = '' AND source <> ALL ($2::text[])
