-- Waits for no lock for long: whoever has it may wait for another session of the merge.
BEGIN;
SET LOCAL lock_timeout = '500ms'
