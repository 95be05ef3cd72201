-- Settings of versions 3 and 4, so that scripts that set them go on working, and defaults that say what is so.

INSERT INTO bucardo.bucardo_config (name, setting, defval, about) VALUES
    ('audit_pid', '0', '0', 'Note starts and ends of the daemon, its controllers and kids in the table audit_pid'),
    ('kid_abort_limit', '10', '10', 'How often a kid that fails is started again before it is stalled'),
    ('kid_abort_sleep', '1', '1', 'Older name of kid_restart_sleep'),
    ('ctl_checkabortedkids_time', '900', '900', 'How often in seconds a stalled kid is tried again'),
    ('ctl_pingtime', '600', '600', 'How often in seconds a controller checks the control database (accepted for old scripts)'),
    ('ctl_nothingfound_sleep', '0.2', '0.2', 'How long an idle controller sleeps (accepted for old scripts)'),
    ('kid_nothingfound_sleep', '0.3', '0.3', 'How long an idle kid sleeps (accepted for old scripts)'),
    ('kick_sleep', '0.2', '0.2', 'How long a kick sleeps while it waits (accepted for old scripts)'),
    ('max_select_clause', '500', '500', 'How many keys one SELECT takes (accepted for old scripts)'),
    ('max_delete_clause', '200', '200', 'How many keys one DELETE takes (accepted for old scripts)'),
    ('upsert_attempts', '3', '3', 'How often writing a row is tried (accepted for old scripts)'),
    ('pidfile', 'bucardo.mcp.pid', 'bucardo.mcp.pid', 'Name of the PID file (accepted for old scripts)')
ON CONFLICT DO NOTHING;

UPDATE bucardo.bucardo_config AS c
SET setting = CASE WHEN c.setting = c.defval THEN n.defval ELSE c.setting END, defval = n.defval, about = n.about
FROM (VALUES
    ('mcp_pingtime', '30', 'How often in seconds syncs are looked at unasked, and databases that are away are tried again'),
    ('mcp_vactime', '10', 'How often in seconds the MCP asks the VAC how it is'),
    ('mcp_dbproblem_sleep', '15', 'Seconds between two tries of a lost control database (unset: 1, growing to 30); 0: the daemon ends'),
    ('kid_serial_sleep', '0.5', 'Seconds before a kid is started again after a serialization failure; below 0: not at once'),
    ('kid_deadlock_sleep', '0.5', 'Seconds before a kid is started again after a deadlock; below 0: not at once'),
    ('kid_restart_sleep', '1', 'Seconds before a kid that failed is started again; each further wait is twice as long'),
    ('ctl_checkonkids_time', '10', 'How often in seconds a controller asks its kids how they are')
) AS n (name, defval, about)
WHERE c.name = n.name AND c.item IS NULL AND (c.defval, c.about) IS DISTINCT FROM (n.defval, n.about);
