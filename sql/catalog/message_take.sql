-- Takes the lines that wait for the daemon's log.
WITH taken AS (DELETE FROM bucardo.bucardo_log_message RETURNING msg, cdate)
SELECT msg, cdate FROM taken ORDER BY cdate
