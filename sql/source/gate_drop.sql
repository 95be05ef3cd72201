-- Takes the gate of a sync away.
--   {gate}
DROP SEQUENCE IF EXISTS {gate}
