-- Ends the runs that a daemon left open when it died.
UPDATE bucardo.syncrun SET ended = now(), status = 'Old entry ended' WHERE ended IS NULL
