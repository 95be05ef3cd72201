-- Whoever locks the run history holds up nothing but this entry: kicks and pings are answered by the same session.
SET LOCAL lock_timeout = '2s'
