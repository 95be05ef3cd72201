-- A trigger function of ours. No SET search_path: everything in the bodies is qualified, so the caller's
-- search_path has no say, and the clause would cost each statement about half as much again.
--   {function} {body}
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS {body}
